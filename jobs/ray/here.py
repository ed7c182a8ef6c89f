"""The same worker in this process: no Ray is started, or even imported."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from jobs.ray.cores import cores
from jobs.ray.tasks import Failure, R, Rest, T, Work, Worker, ended, reason_of
from schemas.text import how_many

POLL_SECONDS = 0.5


class Here:
    """One worker, in this process, with all of its cores.

    What kills it kills the command: nothing is cut, and nothing is tried elsewhere.
    """

    def __init__(self) -> None:
        """Count the cores that this process may use."""
        self.cpus = cores()
        self.described = f"one worker in this process, {how_many(self.cpus, 'core')}"
        self.gpus = True

    def run(self, work: Work[T, R]) -> list[Failure[T]]:
        """Do all tasks, one after another, as `Pool` says."""
        worker = work.make(self.cpus)
        failures: list[Failure[T]] = []
        resting: list[tuple[T, Future[R]]] = []

        def take() -> None:
            task, rest = resting.pop()
            try:
                work.finished(rest.result())
            except Exception as error:  # noqa: BLE001  as a worker elsewhere would say it
                failures.append(Failure(task, reason_of(error)))

        with _telling(worker, work.advanced), ThreadPoolExecutor(1) as beside:
            for task in work.tasks:
                try:
                    found = worker(task)
                except Exception as error:  # noqa: BLE001
                    failures.append(Failure(task, reason_of(error)))
                    continue
                while resting:
                    take()
                resting.append((task, beside.submit(ended, found)))
                if not isinstance(found, Rest):
                    take()
            while resting:
                take()
        return failures


@contextmanager
def _telling(worker: Worker[T, R], advanced: Callable[[int], None]) -> Iterator[None]:
    """Say how far the worker is, now and then, while it works."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(POLL_SECONDS):
            advanced(worker.done)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
