"""What handing out shards costs: a worker that sleeps for the model's time, on 1, 2, 4 workers."""

import time

import psutil
import ray

from benchmarks.rows import Row
from jobs.ray.cluster import LOCAL_OBJECT_STORE, Session
from jobs.ray.pool import RayPool

SHARDS = 10_000
MODEL_SECONDS = 0.01
WORKERS = (1, 2, 4)


class Sleeper:
    """A worker that computes nothing, and returns how long it was at it."""

    def __init__(self, cpus: int) -> None:
        """Start with nothing done."""
        self.done = 0

    def __call__(self, task: int) -> float:
        """Sleep as long as a model would take."""
        started = time.perf_counter()
        time.sleep(MODEL_SECONDS)
        return time.perf_counter() - started


def run() -> list[Row]:
    """Time 10,000 shards, from the first result to the last, on as many workers as there are.

    Of as many seconds as all workers have together, the share in which they slept is the
    efficiency, and the rest, divided by shards, what one shard's scheduling cost its worker.
    """
    ray.init(
        address="local",
        num_cpus=max(WORKERS),
        include_dashboard=False,
        object_store_memory=LOCAL_OBJECT_STORE,
        logging_level="ERROR",
        log_to_driver=False,
    )
    try:
        return [row for workers in WORKERS for row in _run(workers)]
    finally:
        ray.shutdown()


def _run(workers: int) -> list[Row]:
    pool = RayPool(Session(grows=False), workers, 0, SHARDS)
    slept: list[float] = []
    times: list[float] = []
    memory: list[int] = []

    def finished(seconds: float) -> None:
        slept.append(seconds)
        times.append(time.perf_counter())
        if len(times) in (SHARDS // 10, SHARDS):
            memory.append(psutil.Process().memory_info().rss)

    failures = pool.run(Sleeper, range(SHARDS), finished=finished, advanced=lambda done: None)
    assert not failures
    wall = times[-1] - times[0]
    used = sum(slept[1:])
    note = f"{SHARDS:,} shards of {MODEL_SECONDS * 1000:.0f} ms on {workers} workers, {wall:.1f} s"
    # each list of floats holds one number a shard
    ratio = memory[1] / memory[0]
    return [
        Row(f"efficiency of {workers} workers", used / (workers * wall), "x", None, note),
        Row(
            f"scheduling a shard, {workers} workers",
            (workers * wall - used) / SHARDS * 1000,
            "ms",
            3.0,
            "worker's time a shard that it does not work",
        ),
        Row(f"driver's memory at all over a tenth, {workers}", ratio, "x", 1.05, "resident"),
    ]
