"""A data set in chunks, each done by a worker and kept as one file: what a rerun goes on from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from jobs import console
from jobs.commands.map_statistics import MapStatisticsConfig
from jobs.commands.segment import SegmentConfig
from jobs.ray.choose import open_pool
from jobs.ray.tasks import Worker
from schemas.errors import RunFailed


@dataclass(frozen=True)
class Chunk:
    """Pictures of one task, by number, and the file of what is made of them."""

    start: int
    stop: int
    path: Path


C = TypeVar("C", bound=Chunk)


def split(count: int, size: int, folder: Path) -> list[Chunk]:
    """Return the chunks of `count` pictures, each of `size` but the last."""
    return [
        Chunk(start, min(start + size, count), folder / f"part-{start:08d}.parquet")
        for start in range(0, count, size)
    ]


def do_missing(
    title: str,
    chunks: Sequence[C],
    config: SegmentConfig | MapStatisticsConfig,
    make: Callable[[int], Worker[C, Path]],
) -> None:
    """Do the chunks whose file is not there; `make` makes a worker with so many cores.

    Raises:
        RunFailed: some failed for good; the others are kept.
    """
    missing = [chunk for chunk in chunks if not chunk.path.is_file()]
    if not missing:
        return
    count = sum(chunk.stop - chunk.start for chunk in chunks)
    sizes = {chunk.path: chunk.stop - chunk.start for chunk in missing}
    finished = count - sum(sizes.values())
    with (
        open_pool(
            config.ray_address,
            config.workers,
            config.gpus_per_worker,
            len(missing),
            units=sum(sizes.values()),
        ) as pool,
        console.progress(title, count) as advance,
    ):

        def done(path: Path) -> None:
            nonlocal finished
            finished += sizes[path]
            advance(finished)

        failures = pool.run(
            make,
            missing,
            finished=done,
            advanced=lambda running: advance(min(finished + running, count)),
        )
    if failures:
        raise RunFailed(
            f"{len(failures)} of {len(missing)} shards failed, the first: {failures[0].reason}; "
            "run the same command again to try them again"
        )
