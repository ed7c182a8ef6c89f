"""Ray at the edge: a pool of actors, one task a shard, and one rule for what fails.

A worker is a plain callable; nothing below `jobs` knows that Ray exists. Actors restart and their
tasks are tried again when a process dies. A task that raises fails for good and the rest goes on,
except when the error would meet every task alike (a model that does not fit, a warehouse that a
worker does not see): then the run stops at once.
"""

import importlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from schemas.errors import DecompositionError, HeadAtlasError, StoreError, UsageError

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

PACKAGES = ("schemas", "pipeline", "warehouse", "demo", "jobs")
FATAL = (UsageError, DecompositionError, StoreError)
IN_FLIGHT = 2
POLL_SECONDS = 0.5
HEAPS = {"MALLOC_ARENA_MAX": "2"}
LOCAL_OBJECT_STORE = 256 * 2**20


class Worker(Protocol[T_contra, R_co]):
    """A callable that does one task, and says how far it is within it."""

    done: int

    def __call__(self, task: T_contra) -> R_co:
        """Do one task."""


@dataclass(frozen=True)
class Resources:
    """What the cluster has."""

    cpus: int
    gpus: float


@dataclass(frozen=True)
class Share:
    """What the pool takes of it: `workers` actors, each with these."""

    workers: int
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Failure(Generic[T]):
    """A task that failed for good."""

    task: T
    reason: str


@contextmanager
def cluster(address: str | None) -> Iterator[Resources]:
    """Connect to a cluster, or start a local one; a session that is already there is used.

    Raises:
        UsageError: there is no cluster at `address`.
    """
    if ray.is_initialized():
        yield _resources()
        return
    address = address or os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # accelerators stay visible to actors that take none: a worker itself says what it runs on
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # decoding threads would each keep a heap of their own, which grows with the data set
    for name, value in HEAPS.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address:
        modules = [str(Path(str(importlib.import_module(p).__file__)).parent) for p in PACKAGES]
        options |= {"address": address, "runtime_env": {"py_modules": modules, "env_vars": HEAPS}}
    else:
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": LOCAL_OBJECT_STORE,
        }
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"no Ray cluster at {address or 'this machine'}: {reason}; give the head's address, "
            "as ray://HOST:10001 or HOST:6379, or leave --ray-address out to run here"
        ) from error
    if threading.current_thread() is threading.main_thread():
        # Ray puts its own in place, which ends the process before anything can be said
        for number, handler in handlers.items():
            signal.signal(number, handler)
    try:
        yield _resources()
    finally:
        ray.shutdown()


def _resources() -> Resources:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return Resources(int(found.get("CPU", 1)), float(found.get("GPU", 0)))


def share_out(have: Resources, workers: int | None, gpus_per_worker: float | None) -> Share:
    """Decide how many workers run and what each has.

    Default: one worker a GPU; without GPUs one worker for four cores, since a second copy of the
    model costs memory and a forward pass uses several cores well.

    Raises:
        UsageError: more is asked for than there is.
    """
    gpus = gpus_per_worker if gpus_per_worker is not None else (1.0 if have.gpus else 0.0)
    if gpus > 0:
        fit = int(have.gpus / gpus + 1e-9)
        if fit == 0:
            raise UsageError(
                f"gpus-per-worker {gpus:g}: this cluster has {have.gpus:g}; lower it, or give 0"
            )
        count = min(workers or fit, fit)
    else:
        count = min(workers or max(1, have.cpus // 4), have.cpus)
    if workers is not None and count < workers:
        raise UsageError(
            f"workers {workers}: {have.cpus} cores and {have.gpus:g} GPUs hold {count}; "
            "lower --workers or --gpus-per-worker"
        )
    return Share(count, max(1, have.cpus // count), gpus)


class _Actor(Generic[T, R]):
    """Hosts one worker, made at its first task so that its errors come back as the task's."""

    def __init__(self, make: Callable[[], Worker[T, R]]) -> None:
        self._make = make
        self._worker: Worker[T, R] | None = None

    def run(self, task: T) -> R:
        if self._worker is None:
            self._worker = self._make()
        return self._worker(task)

    def status(self) -> int:
        return 0 if self._worker is None else self._worker.done


def run_tasks(
    make: Callable[[], Worker[T, R]],
    tasks: Sequence[T],
    share: Share,
    *,
    finished: Callable[[R], None],
    advanced: Callable[[int], None],
) -> list[Failure[T]]:
    """Do all tasks, at most two waiting per actor; return those that failed for good.

    Args:
        make: makes a worker, inside its actor.
        tasks: any number.
        share: actors, and what each takes.
        finished: called here with each result, in order of completion.
        advanced: called here now and then with the units that running tasks have done.

    Raises:
        HeadAtlasError: one that would meet every task alike.
    """
    options: dict[str, Any] = {
        "num_cpus": share.cpus,
        "num_gpus": share.gpus,
        "max_restarts": -1,
        "max_task_retries": 3,
        "concurrency_groups": {"work": 1, "status": 1},
    }
    hosted: Any = ray.remote(**options)(_Actor)
    actors = [hosted.remote(make) for _ in range(min(share.workers, len(tasks)))]
    waiting = list(reversed(tasks))
    running: dict[Any, tuple[Any, T]] = {}
    failures: list[Failure[T]] = []

    def feed(actor: Any) -> None:
        if waiting:
            task = waiting.pop()
            ref = actor.run.options(concurrency_group="work").remote(task)
            running[ref] = (actor, task)

    try:
        for _ in range(IN_FLIGHT):
            for actor in actors:
                feed(actor)
        while running:
            ready, _ = ray.wait(list(running), num_returns=1, timeout=POLL_SECONDS)
            for ref in ready:
                actor, task = running.pop(ref)
                try:
                    finished(ray.get(ref))
                except RayError as error:
                    failures.append(Failure(task, _reason(error)))
                feed(actor)
            advanced(_units_running(actors))
    finally:
        for actor in actors:
            ray.kill(actor)
    return failures


def _reason(error: RayError) -> str:
    """Return why a task failed, or raise what stops the whole run."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, FATAL):
        raise cause from None
    if isinstance(cause, HeadAtlasError):
        return str(cause)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0] if lines else 'no message'}"


def _units_running(actors: Sequence[Any]) -> int:
    """Ask every actor how far it is; one that is starting or restarting counts nothing."""
    refs = [actor.status.options(concurrency_group="status").remote() for actor in actors]
    ready, _ = ray.wait(refs, num_returns=len(refs), timeout=POLL_SECONDS)
    total = 0
    for ref in ready:
        try:
            total += ray.get(ref)
        except RayError:
            continue
    return total
