"""A seat: one worker's process in its place, and the tasks that it holds."""

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs.ray.cores import cores
from jobs.ray.nodes import Place
from jobs.ray.tasks import R, T, Worker, ended

# Tasks that a worker holds: while one is stored the next is at work.
IN_FLIGHT = 2


class Actor(Generic[T, R]):
    """Hosts one worker; how far it is can be asked while it works."""

    def __init__(self, folder: str) -> None:
        """Work in the driver's folder, where it is here too."""
        self._worker: Worker[T, R] | None = None
        self._turn = threading.Lock()
        with contextlib.suppress(OSError):
            os.chdir(folder)

    def start(self, make: Callable[[int], Worker[T, R]], cpus: int) -> None:
        """Make the worker, with its share or fewer cores: its errors are those of the start."""
        self._worker = make(min(cpus, cores()))

    def run(self, task: T) -> R:
        """Do one task; what its worker leaves of it, beside the next one."""
        assert self._worker is not None
        with self._turn:
            found = self._worker(task)
        return ended(found)

    def status(self) -> int:
        """Say how far the worker is; also while it works."""
        return 0 if self._worker is None else self._worker.done


class Scout:
    """Wants what a worker wants, so that an autoscaler brings a node; it does nothing there."""

    def here(self) -> None:
        """Answer, once there is a node."""


@dataclass(eq=False)
class Job(Generic[T]):
    """A task, and the processes that it has cost.

    Attributes:
        task: what is to be done.
        part: it was cut from one that cost several.
        near: it was held by a process that was lost at another one.
        losses: processes that it has cost.
        nodes: where.
    """

    task: T
    part: bool = False
    near: bool = False
    losses: int = 0
    nodes: set[str] = field(default_factory=set)

    @property
    def suspect(self) -> bool:
        """Whether it may have cost a process."""
        return self.part or self.near or self.losses > 0


@dataclass(eq=False)
class Seat(Generic[T]):
    """One worker's process: where it is, and the tasks that it holds, in their order."""

    place: Place
    actor: Any
    starting: Any
    asked: Any = None
    placed: bool = False
    units: int = 0
    jobs: dict[Any, Job[T]] = field(default_factory=dict)


def take_seat(place: Place, make: Callable[[int], Worker[T, R]]) -> Seat[T]:
    """Start a worker on one node and no other; it holds no task until it has answered."""
    options: dict[str, Any] = {
        "num_cpus": place.share.cpus,
        "num_gpus": place.share.gpus,
        "max_restarts": 0,
        "max_task_retries": 0,
        "concurrency_groups": {"work": IN_FLIGHT, "status": 1},
        "scheduling_strategy": NodeAffinitySchedulingStrategy(place.node.id, soft=False),
    }
    hosted: Any = ray.remote(**options)(Actor)
    actor = hosted.remote(str(Path.cwd()))
    started = actor.start.options(concurrency_group="work").remote(make, place.share.cpus)
    return Seat(place, actor, started)


def said(error: Exception) -> str:
    """Return the first line of what Ray says of a lost process."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    wanted = [line for line in lines if "exit" in line.lower() or "memory" in line.lower()]
    return f"{type(error).__name__}: {(wanted or lines or ['no message'])[0]}"[:200]
