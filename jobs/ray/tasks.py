"""What a pool is given to do, and the one rule for what fails. No Ray here."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from schemas.errors import DecompositionError, HeadAtlasError, StoreError, UsageError

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

# Errors that would meet every task alike.
FATAL = (UsageError, DecompositionError, StoreError)
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Rest(Generic[R_co]):
    """What is left of a task when its worker is free for the next one: storing it.

    Attributes:
        do: does that, in another thread than the worker's, and returns the task's result.
    """

    do: Callable[[], R_co]


class Worker(Protocol[T_contra, R_co]):
    """A callable that does one task after another, and says how far it is."""

    @property
    def done(self) -> int:
        """Units done of the tasks that have no result yet."""

    def __call__(self, task: T_contra) -> R_co | Rest[R_co]:
        """Do one task, or all of it but what can be done beside the next."""


@dataclass(frozen=True)
class Failure(Generic[T]):
    """A task that failed for good."""

    task: T
    reason: str


@dataclass(frozen=True)
class Cut(Generic[T, R]):
    """What becomes of a task that takes its worker's process with it each time.

    Attributes:
        split: a task's parts, tried one by one; none for what cannot be cut.
        give_up: the result of such a task, with the reason: its one picture as a reject.
    """

    split: Callable[[T], Sequence[T]]
    give_up: Callable[[T, str], R]


@dataclass(frozen=True)
class Work(Generic[T, R]):
    """A list of tasks, and who is told what becomes of them.

    Attributes:
        make: makes a worker with so many cores, where it will work.
        tasks: any number.
        finished: called in the driver with each result, in order of completion.
        advanced: called there now and then with the units that running tasks have done.
        cut: for tasks that kill their workers; without it they are failures.
    """

    make: Callable[[int], Worker[T, R]]
    tasks: Sequence[T]
    finished: Callable[[R], None]
    advanced: Callable[[int], None]
    cut: Cut[T, R] | None = None


class Pool(Protocol):
    """Who does tasks: workers of a cluster, or this process.

    Attributes:
        described: in a few words, workers and what each has.
        gpus: whether they use any.
    """

    described: str
    gpus: bool

    def run(self, work: Work[T, R]) -> list[Failure[T]]:
        """Do all tasks; return those that failed for good.

        Raises:
            HeadAtlasError: one that would meet every task alike.
        """


def ended(found: R | Rest[R]) -> R:
    """Return a task's result, once what is left of it is done."""
    return found.do() if isinstance(found, Rest) else found


def out_of_memory(error: BaseException) -> bool:
    """Whether a worker lives on but had no memory, its own or its GPU's: as good as lost."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def reason_of(error: BaseException) -> str:
    """Return why a task failed, or raise what stops the whole run.

    Raises:
        HeadAtlasError: the error would meet every task alike: a model that does not fit, a
            warehouse that a worker does not see, a full disk.
    """
    if isinstance(error, FATAL):
        raise error from None
    if isinstance(error, HeadAtlasError):
        return str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        at = f" at {error.filename}" if error.filename else ""
        raise StoreError(
            f"no space left{at}: {error.strerror or 'the disk or the quota is full'}; what is "
            "finished is kept: make room and run the same command again to go on"
        ) from None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
