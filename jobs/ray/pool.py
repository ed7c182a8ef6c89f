"""A pool of Ray actors, one task a shard: given only to an actor that lives and has answered.

Actors never restart by themselves and Ray never tries a task again: a lost process, whatever took
it, is known here, its tasks go to those who live, and only the task that it was at is blamed; one
that it held besides is tried alone. One that has cost its worker's life several times is cut in
parts, until the picture is alone.
"""

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic

import ray
from ray.exceptions import RayError, RayTaskError

from jobs import console
from jobs.ray.cluster import Session
from jobs.ray.nodes import Node, Place, Share, described, gpus_each, places, require_room, usual
from jobs.ray.seats import IN_FLIGHT, Job, Scout, Seat, said, take_seat
from jobs.ray.tasks import Failure, R, T, Work, out_of_memory, reason_of
from schemas.errors import RunFailed
from schemas.text import how_many

POLL_SECONDS = 0.5
LOOK_SECONDS = 2.0
SCOUT_SECONDS = 60.0
# Processes that one task may cost before it is cut, and one picture before it is given up.
LOSSES = 3
# Times that a worker may die or fail while it starts on a node, before the node is left out.
STARTS = 3
# Processes lost in succession, with nothing done between, before the run stops.
HOPELESS = 30
# Seconds without progress before it is said what waits for what, and between two such lines.
SILENCE = 30.0
# Seconds that a cluster may take until it has a node where a worker fits.
PATIENCE = 900.0


class RayPool:
    """Workers on the nodes of a session, as many as `places` finds room for."""

    def __init__(
        self, session: Session, workers: int | None, gpus_per_worker: float | None, tasks: int
    ) -> None:
        """Share the nodes out for so many tasks.

        Raises:
            UsageError: more is asked for than a local session has.
        """
        nodes = session.nodes()
        self.session = session
        self.gpu = gpus_each(nodes, gpus_per_worker)
        if not session.grows:
            require_room(nodes, workers, self.gpu)
        fit = sum(usual(node, self.gpu) for node in nodes)
        self.workers = min(workers, tasks) if workers else (tasks if 0 < tasks < fit else None)
        self.described = described(places(nodes, self.workers, self.gpu), nodes)
        self.gpus = self.gpu > 0

    def run(self, work: Work[T, R]) -> list[Failure[T]]:
        """Do all tasks, as `Pool` says.

        Raises:
            HeadAtlasError: one that would meet every task alike.
            RunFailed: no worker can be started, or they die on everything.
        """
        run = _Run(self, work)
        try:
            return run.to_the_end()
        finally:
            run.close()


class _Run(Generic[T, R]):
    """One list of tasks, until each is done, cut, given up or failed."""

    def __init__(self, pool: RayPool, work: Work[T, R]) -> None:
        self.pool, self.work = pool, work
        self.waiting = deque(Job(task) for task in work.tasks)
        self.suspects: deque[Job[T]] = deque()
        self.failures: list[Failure[T]] = []
        self.seats: list[Seat[T]] = []
        self.shares: dict[str, list[Share]] = {}
        self.nodes: dict[str, Node] = {}
        self.bad: dict[str, int] = {}
        self.scouts: list[tuple[Any, Any]] = []
        self.last_loss = ""
        self.lost_in_succession = 0
        self.moved = self.said = self.fitted = time.monotonic()
        self.next_look = self.next_ask = self.next_scout = 0.0

    def to_the_end(self) -> list[Failure[T]]:
        while self.waiting or self.suspects or any(seat.jobs for seat in self.seats):
            self._look()
            self._feed()
            for ref in self._ready():
                self._take(ref)
            self._ask()
            self._watch()
        return self.failures

    def close(self) -> None:
        for actor in (*(seat.actor for seat in self.seats), *(scout for scout, _ in self.scouts)):
            with contextlib.suppress(RayError, ValueError):
                ray.kill(actor)

    # who is there

    def _look(self) -> None:
        """See which nodes live; leave the dead, and seat workers wherever there is a free place."""
        now = time.monotonic()
        if now < self.next_look:
            return
        self.next_look = now + LOOK_SECONDS
        self.nodes = {node.id: node for node in self.pool.session.nodes()}
        for seat in [s for s in self.seats if s.place.node.id not in self.nodes]:
            self._lose(seat, f"node {seat.place.node.name} is gone")
        self.shares = {i: shares for i, shares in self.shares.items() if i in self.nodes}
        usable = [n for i, n in self.nodes.items() if self.bad.get(i, 0) < STARTS]
        empty = [n for n in usable if not self.shares.get(n.id)]
        most = self.pool.workers
        if most is not None:
            most -= sum(len(shares) for shares in self.shares.values())
        for place in places(empty, most, self.pool.gpu) if empty and most != 0 else ():
            self.shares.setdefault(place.node.id, []).append(place.share)
        if any(self.shares.values()):
            self.fitted = now
        self._seat()
        self._scout(usable)

    def _seat(self) -> None:
        """Start workers in free places, no more than there is work for."""
        starting = sum(seat.starting is not None for seat in self.seats)
        wanted = len(self.waiting) + len(self.suspects) - starting
        for node_id, shares in self.shares.items():
            taken = sum(seat.place.node.id == node_id for seat in self.seats)
            for share in shares[taken:]:
                if wanted > 0 and self.bad.get(node_id, 0) < STARTS:
                    self.seats.append(take_seat(Place(self.nodes[node_id], share), self.work.make))
                    wanted -= 1

    def _scout(self, usable: Sequence[Node]) -> None:
        """Let an autoscaler know what is missing; stop when no worker can be started at all."""
        pool, have = self.pool, sum(len(shares) for shares in self.shares.values())
        missing = pool.workers - have if pool.workers is not None else int(have == 0)
        if not have and not self.seats and (set(self.nodes) - {n.id for n in usable}):
            raise RunFailed(f"no worker could be started: {self.last_loss}")
        if not pool.session.grows:
            return
        if time.monotonic() - self.fitted > PATIENCE:
            raise RunFailed(
                f"no node where a worker fits in {PATIENCE / 60:.0f} minutes: {self._wanted()}; "
                "add nodes, or lower --gpus-per-worker, and run the same command again"
            )
        for scout, ref in list(self.scouts):
            answered = bool(ray.wait([ref], timeout=0)[0])
            if answered or len(self.scouts) > missing:
                self.scouts.remove((scout, ref))
                ray.kill(scout)
            if answered:
                # its node is seen at the next look; should it hold no worker, others hold its cores
                self.next_scout = time.monotonic() + SCOUT_SECONDS
        if time.monotonic() < self.next_scout:
            return
        for _ in range(missing - len(self.scouts)):
            asked: Any = ray.remote(num_cpus=1, num_gpus=pool.gpu, max_restarts=0)(Scout)
            scout = asked.remote()
            self.scouts.append((scout, scout.here.remote()))

    # who does what

    def _feed(self) -> None:
        """Hand out tasks: a second one ahead while there are plenty, a suspect alone."""
        live = [seat for seat in self.seats if seat.starting is None]
        for ahead in range(IN_FLIGHT):
            for seat in live:
                if len(seat.jobs) > ahead or any(job.suspect for job in seat.jobs.values()):
                    continue
                if self.waiting and (ahead == 0 or len(self.waiting) >= len(live)):
                    self._give(seat, self.waiting.popleft())
        idle = [seat for seat in live if not seat.jobs]
        while self.suspects and idle:
            job = self.suspects.popleft()
            elsewhere = [seat for seat in idle if seat.place.node.id not in job.nodes]
            seat = (elsewhere or idle)[0]
            idle.remove(seat)
            self._give(seat, job)

    def _give(self, seat: Seat[T], job: Job[T]) -> None:
        ref = seat.actor.run.options(concurrency_group="work").remote(job.task)
        seat.jobs[ref] = job

    def _ready(self) -> list[Any]:
        refs = [
            ref
            for seat in self.seats
            for ref in (*seat.jobs, seat.starting, seat.asked)
            if ref is not None
        ]
        if not refs:
            time.sleep(POLL_SECONDS)
            return []
        ready, _ = ray.wait(refs, num_returns=1, timeout=POLL_SECONDS)
        if ready and len(refs) > 1:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        return list(ready)

    def _take(self, ref: Any) -> None:
        """Take in what is ready: a task's end, a worker that has started, or how far one is."""
        for seat in self.seats:
            if ref in seat.jobs:
                self._end(seat, ref)
            elif ref == seat.starting:
                self._started(seat)
            elif ref == seat.asked:
                seat.asked = None
                with contextlib.suppress(RayError):
                    units = ray.get(ref)
                    self._progress(units != seat.units or not seat.placed)
                    seat.units, seat.placed = units, True
            else:
                continue
            return

    def _end(self, seat: Seat[T], ref: Any) -> None:
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            if out_of_memory(error.cause):
                self._lose(seat, f"{type(error.cause).__name__}")
                return
            self.failures.append(Failure(seat.jobs.pop(ref).task, reason_of(error.cause)))
        except RayError as error:
            self._lose(seat, said(error))
            return
        else:
            del seat.jobs[ref]
            self.work.finished(result)
        seat.units, self.lost_in_succession = 0, 0
        self._progress()

    def _started(self, seat: Seat[T]) -> None:
        try:
            ray.get(seat.starting)
        except RayError as error:
            why = reason_of(error.cause) if isinstance(error, RayTaskError) else said(error)
            self._drop(seat)
            node = seat.place.node
            self.bad[node.id] = self.bad.get(node.id, 0) + 1
            self.last_loss = f"on {node.name}: {why}"
            if self.bad[node.id] == STARTS:
                self.shares.pop(node.id, None)
                console.warn(f"node {node.name} is left out: no worker starts there: {why}")
            self.next_look = 0.0
            return
        seat.starting = None
        self.bad.pop(seat.place.node.id, None)
        self._progress()

    # who is lost

    def _drop(self, seat: Seat[T]) -> None:
        self.seats.remove(seat)
        with contextlib.suppress(RayError, ValueError):
            ray.kill(seat.actor)

    def _lose(self, seat: Seat[T], why: str) -> None:
        """A process is gone: what it had finished counts, what it was at is blamed."""
        self._drop(seat)
        self.last_loss, self.next_look = why, 0.0
        blamed = False
        for ref, job in seat.jobs.items():
            ready, _ = ray.wait([ref], timeout=0)
            try:
                if ready:
                    self.work.finished(ray.get(ref))
                    self.lost_in_succession = 0
                    continue
            except RayTaskError as error:
                if not out_of_memory(error.cause):
                    self.failures.append(Failure(job.task, reason_of(error.cause)))
                    continue
            except RayError:
                pass
            if blamed:
                # it may have begun, so that it was this one
                job.near = True
                self.suspects.append(job)
            else:
                blamed = True
                self._blame(job, seat.place.node, why)
        self._progress()

    def _blame(self, job: Job[T], node: Node, why: str) -> None:
        job.losses += 1
        job.nodes.add(node.id)
        self.lost_in_succession += 1
        if self.lost_in_succession >= HOPELESS:
            raise RunFailed(
                f"{HOPELESS} workers died in succession, the last on {node.name}: {why}; what is "
                "finished is kept; look at memory there, and run the same command again"
            )
        cut = self.work.cut
        parts = cut.split(job.task) if cut and (job.part or job.losses >= LOSSES) else ()
        why = f"its worker was lost {job.losses} times: {why}"
        if parts:
            if not job.part:
                console.warn(f"a task is tried in parts: {why}")
            self.suspects.extend(Job(part, part=True) for part in parts)
        elif job.losses < LOSSES:
            self.suspects.append(job)
        elif cut:
            self.work.finished(cut.give_up(job.task, why))
        else:
            self.failures.append(Failure(job.task, why))

    # what is said

    def _ask(self) -> None:
        """Ask every worker how far it is, now and then, and say what all came to."""
        now = time.monotonic()
        if now < self.next_ask:
            return
        self.next_ask = now + POLL_SECONDS
        for seat in self.seats:
            if seat.asked is None:
                seat.asked = seat.actor.status.options(concurrency_group="status").remote()
        self.work.advanced(sum(seat.units for seat in self.seats))

    def _progress(self, is_it: bool = True) -> None:
        if is_it:
            self.moved = time.monotonic()

    def _watch(self) -> None:
        now = time.monotonic()
        if now - max(self.moved, self.said) >= SILENCE:
            self.said = now
            console.warn(f"no progress for {now - self.moved:.0f} s: {self._waits()}")

    def _waits(self) -> str:
        """Say what waits for what."""
        working = [s for s in self.seats if s.starting is None and s.jobs]
        loading = [s for s in self.seats if s.starting is not None and s.placed]
        pending = [s for s in self.seats if s.starting is not None and not s.placed]
        left = len(self.waiting) + len(self.suspects)
        facts = [f"waiting: {how_many(left, 'task')}"] if left else []
        facts += [f"a worker is at a task on {s.place.node.name}" for s in working[:4]]
        facts += [f"a worker starts on {s.place.node.name}" for s in loading[:4]]
        facts += [
            f"a worker waits for {how_many(s.place.share.cpus, 'core')}"
            + (f" and {s.place.share.gpus:g} GPU" if s.place.share.gpus else "")
            + f" that others hold on {s.place.node.name}"
            for s in pending[:4]
        ]
        if not self.shares or self.scouts:
            facts.append(
                f"{how_many(max(1, len(self.scouts)), 'worker')} must wait for a node: "
                f"{self._wanted()}"
            )
        return "; ".join(facts)

    def _wanted(self) -> str:
        gpu = self.pool.gpu
        there = ", ".join(
            f"{n.name}: {how_many(n.cpus, 'core')}, {n.gpus:g} GPUs" for n in self.nodes.values()
        )
        return f"each needs {f'{gpu:g} GPU and ' if gpu else ''}a core; there is {there or 'none'}"
