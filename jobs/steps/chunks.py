"""A data set in chunks, each done by a worker and kept as one file: what a rerun goes on from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import pyarrow as pa

from jobs import console
from jobs.ray.choose import open_pool
from jobs.ray.tasks import Cut, Work, Worker
from schemas.errors import RunFailed
from schemas.text import how_many
from warehouse.results.files import read_result


@dataclass(frozen=True)
class Chunk:
    """Pictures of one task, by number, and the file of what is made of them."""

    start: int
    stop: int
    path: Path

    def piece(self, start: int, stop: int) -> Self:
        """Return some of its pictures as a task of their own, its file named after the whole's."""
        whole = self.path.name.split(".")[0]
        path = self.path.with_name(f"{whole}.{start:08d}-{stop:08d}.parquet")
        return replace(self, start=start, stop=stop, path=path)

    def done(self) -> list[Path]:
        """Return the files of its pictures: its own, or those of all its pieces; none yet."""
        if self.path.is_file():
            return [self.path]
        found, upto = [], self.start
        for path in sorted(self.path.parent.glob(f"{self.path.stem}.*-*.parquet")):
            start, _, stop = path.name.split(".")[1].partition("-")
            if int(start) == upto:
                found.append(path)
                upto = int(stop)
        return found if upto == self.stop else []


class Resources(Protocol):
    """The options of a command that say who does its tasks, as `open_pool` takes them."""

    @property
    def ray_address(self) -> str | None:
        """Cluster."""

    @property
    def workers(self) -> int | None:
        """Workers, at most."""

    @property
    def gpus_per_worker(self) -> float | None:
        """Share of a GPU each."""


C = TypeVar("C", bound=Chunk)


def split(count: int, size: int, folder: Path) -> list[Chunk]:
    """Return the chunks of `count` pictures, each of `size` but the last."""
    return [
        Chunk(start, min(start + size, count), folder / f"part-{start:08d}.parquet")
        for start in range(0, count, size)
    ]


def _halves(chunk: C) -> tuple[C, ...]:
    middle = (chunk.start + chunk.stop) // 2
    if middle == chunk.start:
        return ()
    return chunk.piece(chunk.start, middle), chunk.piece(middle, chunk.stop)


def do_missing(
    title: str,
    chunks: Sequence[C],
    config: Resources,
    make: Callable[[int], Worker[C, Path]],
    reject: Callable[[C, str], Path],
) -> list[Path]:
    """Do the chunks that are not there; return the files of all, in the pictures' order.

    A chunk that kills its worker each time is done in pieces, each with a file of its own.

    Args:
        title: of the progress.
        chunks: all of them.
        config: who does them.
        make: makes a worker with so many cores.
        reject: writes the file of a chunk none of whose pictures could be had, with the reason.

    Raises:
        RunFailed: some failed for good; the others are kept.
    """
    missing = [chunk for chunk in chunks if not chunk.done()]
    if missing:
        _do(title, chunks, missing, config, make, reject)
    return [path for chunk in chunks for path in chunk.done()]


def left_out(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return key and reason of each picture that a result, or a chunk of one, was made without."""
    return [(key, reason) for key, reason in provenance["rejects"]]


class Sums(Protocol):
    """What chunks add up to, kept in a file as a table."""

    def merge(self, other: Self) -> None:
        """Add another's."""

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Read what a chunk's file holds."""


S = TypeVar("S", bound=Sums)


def add_up(files: Sequence[Path], sums: S) -> list[tuple[str, str]]:
    """Add the chunks' files to `sums`; return key and reason of each picture left out."""
    rejects = list[tuple[str, str]]()
    for file in files:
        table, provenance = read_result(file)
        sums.merge(sums.from_table(table))
        rejects += left_out(provenance)
    return rejects


def require_used(used: bool, pictures: int, rejects: Sequence[tuple[str, str]]) -> None:
    """Check that of the pictures asked for some could be used.

    Args:
        used: whether any was.
        pictures: how many were asked for.
        rejects: key and reason of those left out.

    Raises:
        RunFailed: none could; with the reason of the first.
    """
    if not used:
        why = f"the first: {rejects[0][1]}" if rejects else "the scan holds none"
        raise RunFailed(f"none of {how_many(pictures, 'picture')} could be used, {why}")


def _do(
    title: str,
    chunks: Sequence[C],
    missing: Sequence[C],
    config: Resources,
    make: Callable[[int], Worker[C, Path]],
    reject: Callable[[C, str], Path],
) -> None:
    count = sum(chunk.stop - chunk.start for chunk in chunks)
    sizes = {chunk.path: chunk.stop - chunk.start for chunk in missing}
    todo = sum(sizes.values())
    finished = count - todo

    def cut(chunk: C) -> tuple[C, ...]:
        pieces = _halves(chunk)
        sizes.update((piece.path, piece.stop - piece.start) for piece in pieces)
        return pieces

    with (
        open_pool(
            config.ray_address, config.workers, config.gpus_per_worker, len(missing), units=todo
        ) as pool,
        console.progress(title, count) as advance,
    ):

        def done(path: Path) -> None:
            nonlocal finished
            finished += sizes[path]
            advance(finished)

        failures = pool.run(
            Work(
                make,
                missing,
                finished=done,
                advanced=lambda running: advance(min(finished + running, count)),
                cut=Cut(cut, reject),
            )
        )
    if failures:
        raise RunFailed(
            f"{len(failures)} of {how_many(len(missing), 'shard')} failed, the first: "
            f"{failures[0].reason}; "
            "run the same command again to try them again"
        )
