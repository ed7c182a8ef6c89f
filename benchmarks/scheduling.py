"""What handing out shards costs: a worker that sleeps for the model's time, on 1, 2, 4 workers.

Three Ray nodes of 2, 1 and 1 cores, each with a server of its own, on this machine, and one folder
that all of them see: each shard leaves a file there. Sleeping takes no core, so that the driver is
what is measured, on however few cores there are.
"""

import os
import sys
import time
from functools import partial
from pathlib import Path

import psutil
from ray import cloudpickle

from benchmarks.rows import Row
from jobs.ray.cluster import Session, cluster
from jobs.ray.pool import RayPool
from jobs.ray.tasks import Work
from tests.jobs.ray.nodes import ENVIRONMENT, several_nodes

SHARDS = 10_000
MODEL_SECONDS = 0.01
WORKERS = (1, 2, 4)
NODES = (2, 1, 1)


class Sleeper:
    """A worker that computes nothing, leaves a file, and returns how long it was at it."""

    def __init__(self, folder: Path, cpus: int) -> None:
        """Start with nothing done."""
        self.folder, self.done = folder, 0

    def __call__(self, task: int) -> float:
        """Sleep as long as a model would take."""
        started = time.perf_counter()
        time.sleep(MODEL_SECONDS)
        (self.folder / f"{task:06d}").touch()
        return time.perf_counter() - started


def run(work: Path, shards: int = SHARDS) -> list[Row]:
    """Time the shards, from the first result to the last, on as many workers as there are.

    Of as many seconds as all workers have together, the share in which they slept is the
    efficiency, and the rest, divided by shards, what one shard's scheduling cost its worker.
    """
    os.environ.update(ENVIRONMENT)
    # the nodes' workers do not know this package
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    rows = []
    with several_nodes(*NODES) as nodes, cluster(nodes.address) as session:
        for workers in WORKERS:
            folder = work / f"shared-{workers}"
            folder.mkdir()
            rows += _run(session, workers, shards, folder)
            assert len(list(folder.iterdir())) == shards
    return rows


def _run(session: Session, workers: int, shards: int, folder: Path) -> list[Row]:
    pool = RayPool(session, workers, 0, shards)
    slept: list[float] = []
    times: list[float] = []
    memory: list[int] = []

    def finished(seconds: float) -> None:
        slept.append(seconds)
        times.append(time.perf_counter())
        if len(times) in (shards // 10, shards):
            memory.append(psutil.Process().memory_info().rss)

    work = Work(
        partial(Sleeper, folder), range(shards), finished=finished, advanced=lambda done: None
    )
    failures = pool.run(work)
    assert not failures
    wall = times[-1] - times[0]
    used = sum(slept[1:])
    asleep = f"{shards:,} shards of {MODEL_SECONDS * 1000:.0f} ms"
    note = f"{asleep} on {workers} workers of {len(NODES)} nodes, {wall:.1f} s"
    # each list of floats holds one number a shard
    ratio = memory[1] / memory[0]
    return [
        Row(f"efficiency of {workers} workers", used / (workers * wall), "x", None, note),
        Row(
            f"scheduling a shard, {workers} workers",
            (workers * wall - used) / shards * 1000,
            "ms",
            3.0,
            "worker's time a shard that it does not work",
        ),
        Row(f"driver's memory at all over a tenth, {workers}", ratio, "x", 1.05, "resident"),
    ]
