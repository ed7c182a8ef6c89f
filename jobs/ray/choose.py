"""Who does a command's tasks: a cluster, a local Ray, or this process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.ray.here import Here
from jobs.ray.tasks import Pool

# A single task of so many pictures is done here before a local Ray would have started.
SMALL = 512


@contextmanager
def open_pool(
    address: str | None, workers: int | None, gpus_per_worker: float | None, tasks: int, units: int
) -> Iterator[Pool]:
    """Open what does the tasks.

    Args:
        address: of a cluster; None: RAY_ADDRESS, else here.
        workers: at most so many; 0: in this process, without Ray; None: as many as fit, or this
            process for one small task.
        gpus_per_worker: None: one, where there are any.
        tasks: how many there will be.
        units: pictures in them.

    Raises:
        UsageError: no cluster at the address, or more is asked for than there is.
    """
    small = tasks <= 1 and units <= SMALL and workers is None and gpus_per_worker is None
    if workers == 0 or (small and not address and not _ray_elsewhere()):
        yield Here()
        return
    from jobs.ray.cluster import cluster
    from jobs.ray.pool import RayPool

    with cluster(address) as session:
        yield RayPool(session, workers, gpus_per_worker, tasks)


def _ray_elsewhere() -> bool:
    """Whether a Ray is there already: named in the environment, or connected to."""
    ray = sys.modules.get("ray")
    return bool(os.environ.get("RAY_ADDRESS")) or (ray is not None and ray.is_initialized())
