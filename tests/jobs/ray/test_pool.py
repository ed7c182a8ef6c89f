"""One local Ray: failures, deaths, halves, silence; and the same tasks in this process."""

import errno
import os
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from ray import cloudpickle

from jobs.ray import pool as pools
from jobs.ray.cluster import Session
from jobs.ray.cores import cores
from jobs.ray.here import Here
from jobs.ray.pool import RayPool
from jobs.ray.tasks import Cut, Failure, Pool, Rest, Work
from schemas.errors import DecompositionError, RunFailed, StoreError

# the tests are no package that workers can import
cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = pytest.mark.usefixtures("ray_session")


class Doubler:
    """A worker that doubles; some numbers it cannot bear, and one kills its process once."""

    def __init__(self, marks: Path, cpus: int) -> None:
        self.marks, self.done = marks, 0

    def __call__(self, task: int) -> int:
        if task == 3:
            raise ValueError("three is too many\nsecond line")
        if task == 5 and not (self.marks / "died").exists():
            (self.marks / "died").touch()
            os._exit(1)
        if task == 98:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x.parquet")
        if task == 99:
            raise DecompositionError("the parts do not sum")
        return 2 * task


class Fragile:
    """A worker on lists of numbers whose process is killed by each number below zero."""

    def __init__(self, cpus: int) -> None:
        self.done = 0

    def __call__(self, task: Sequence[int]) -> list[int]:
        for number in task:
            if number < -100:
                raise MemoryError
            if number < 0:
                os._exit(1)
        return list(task)


class Unstartable:
    """A worker whose process dies before it is one."""

    done = 0

    def __init__(self, cpus: int) -> None:
        os._exit(1)

    def __call__(self, task: int) -> int:
        return task


class Slow:
    """A worker that sleeps without saying how far it is."""

    def __init__(self, cpus: int) -> None:
        self.done = 0

    def __call__(self, task: float) -> float:
        time.sleep(task)
        return task


class Storing:
    """A worker that leaves the end of a task for later; that of a low one waits for the next."""

    LAST = 5

    def __init__(self, cpus: int) -> None:
        self.done = 0
        self.begun = [threading.Event() for _ in range(self.LAST + 2)]

    def __call__(self, task: int) -> int | Rest[int]:
        self.begun[task].set()
        return task if task == 1 else Rest(partial(self.store, task))

    def store(self, task: int) -> int:
        if task < self.LAST and not self.begun[task + 1].wait(20):
            raise TimeoutError("the next task has not begun")
        if task == 2:
            raise ValueError("two is not stored")
        return task


def one_worker(tasks: int) -> RayPool:
    return RayPool(Session(grows=False), 1, 0, tasks)


def test_failures_are_reported_deaths_are_retried_and_the_rest_goes_on(tmp_path: Path) -> None:
    found: list[int] = []
    failures = one_worker(7).run(
        Work(
            partial(Doubler, tmp_path),
            list(range(7)),
            finished=found.append,
            advanced=lambda done: None,
        )
    )
    assert sorted(found) == [0, 2, 4, 8, 10, 12]
    assert [(f.task, f.reason) for f in failures] == [(3, "ValueError: three is too many")]
    assert (tmp_path / "died").exists()


def test_an_error_that_meets_every_task_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DecompositionError, match="do not sum"):
        one_worker(5).run(
            Work(
                partial(Doubler, tmp_path),
                [99] * 5,
                finished=lambda result: None,
                advanced=lambda done: None,
            )
        )


def test_a_full_disk_stops_the_run_at_once_with_one_line(tmp_path: Path) -> None:
    found: list[int] = []
    for pool in (one_worker(5), Here()):
        with pytest.raises(StoreError, match=r"no space left at /data/x\.parquet") as caught:
            pool.run(
                Work(
                    partial(Doubler, tmp_path),
                    [98] * 5,
                    finished=found.append,
                    advanced=lambda done: None,
                )
            )
        assert "\n" not in str(caught.value)
    assert not found


def test_what_kills_its_worker_is_cut_until_it_is_alone_and_given_up() -> None:
    """done + given up = all, whatever kills a worker, and however the tasks are cut."""
    found: list[int] = []
    given_up: list[tuple[int, str]] = []

    def give_up(task: Sequence[int], why: str) -> list[int]:
        given_up.extend((number, why) for number in task)
        return []

    def split(task: Sequence[int]) -> list[Sequence[int]]:
        middle = len(task) // 2
        return [task[:middle], task[middle:]] if middle else []

    tasks = [[0, 1], [2, 3, -4, 5], [6, -107]]
    failures = one_worker(3).run(
        Work(
            Fragile,
            tasks,
            finished=found.extend,
            advanced=lambda done: None,
            cut=Cut(split, give_up),
        )
    )
    assert not failures
    assert sorted(found) == [0, 1, 2, 3, 5, 6]
    whys = dict(given_up)
    assert whys.keys() == {-4, -107}
    assert "lost 3 times: MemoryError" in whys[-107]
    assert "lost 3 times" in whys[-4]


def test_without_a_way_to_cut_it_such_a_task_fails_and_says_so() -> None:
    found: list[list[int]] = []
    failures: list[Failure[list[int]]] = one_worker(2).run(
        Work(Fragile, [[-1], [2]], finished=found.append, advanced=lambda done: None)
    )
    assert found == [[2]]
    assert [f.task for f in failures] == [[-1]]
    assert "lost 3 times" in failures[0].reason


def test_workers_that_cannot_start_are_one_line() -> None:
    with pytest.raises(RunFailed, match="no worker could be started") as caught:
        one_worker(1).run(
            Work(Unstartable, [1], finished=lambda result: None, advanced=lambda done: None)
        )
    assert "\n" not in str(caught.value)


def test_nothing_waits_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pools, "SILENCE", 1.0)
    found: list[float] = []
    one_worker(1).run(Work(Slow, [3.0], finished=found.append, advanced=lambda done: None))
    assert found == [3.0]
    said = capsys.readouterr().err
    assert "no progress for" in said
    assert "a worker is at a task on" in said


def test_this_process_does_the_same(tmp_path: Path) -> None:
    (tmp_path / "died").touch()
    found: list[int] = []
    failures = Here().run(
        Work(
            partial(Doubler, tmp_path),
            list(range(7)),
            finished=found.append,
            advanced=lambda done: None,
        )
    )
    assert found == [0, 2, 4, 8, 10, 12]
    assert [(f.task, f.reason) for f in failures] == [(3, "ValueError: three is too many")]


def test_this_process_hands_over_what_is_done_before_the_next_task(tmp_path: Path) -> None:
    found: list[int] = []
    with pytest.raises(DecompositionError):
        Here().run(
            Work(
                partial(Doubler, tmp_path),
                [1, 2, 99],
                finished=found.append,
                advanced=lambda done: None,
            )
        )
    assert found == [2, 4]


@pytest.mark.parametrize("here", [True, False])
def test_a_task_is_stored_while_the_next_is_at_work(here: bool) -> None:
    found: list[int] = []
    pool: Pool = Here() if here else one_worker(6)
    failures = pool.run(
        Work(
            Storing,
            list(range(Storing.LAST + 1)),
            finished=found.append,
            advanced=lambda done: None,
        )
    )
    assert sorted(found) == [0, 1, 3, 4, 5]
    assert [(f.task, f.reason) for f in failures] == [(2, "ValueError: two is not stored")]


@pytest.mark.parametrize(("told", "most"), [("1", 1), ("1,4", 1), ("0", None), ("many", None)])
def test_this_process_takes_no_more_cores_than_it_is_told(
    monkeypatch: pytest.MonkeyPatch, told: str, most: int | None
) -> None:
    able = len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert cores() == Here().cpus == (most or able)
    monkeypatch.setenv("OMP_NUM_THREADS", str(able + 3))
    assert cores() == able


class Counting:
    """A worker that says how many cores it was given, and how many its process is told of."""

    def __init__(self, cpus: int) -> None:
        self.cpus, self.done = cpus, 0

    def __call__(self, task: int) -> tuple[int, int]:
        return self.cpus, cores()


def test_a_worker_of_ray_takes_no_more_than_its_process_is_told() -> None:
    found: list[tuple[int, int]] = []
    one_worker(1).run(Work(Counting, [0], finished=found.append, advanced=lambda done: None))
    ((given, told),) = found
    assert given == told >= 1
