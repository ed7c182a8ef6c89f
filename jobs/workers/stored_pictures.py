"""Pictures of a scan, read again in chunks: what workers that run the model on them share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from jobs.steps.chunks import Chunk
from jobs.workers.scan import load_checked
from pipeline.pictures.decode import Decoding
from pipeline.pictures.loader import Clock, batches
from pipeline.sources.reader import Reader
from schemas.manifest import ScanRecord
from schemas.members import Member
from warehouse.results.files import write_result

SOURCE = ("image_id", "key", "uri", "fingerprint", "label")
"""Columns of images.parquet that pictures are found again by, and sampled."""


@dataclass(frozen=True)
class Stored(Chunk):
    """Some pictures of a scan.

    Attributes:
        members: as the warehouse keeps them.
        image_ids: their numbers.
        marked: pictures of which more is wanted.
    """

    members: tuple[Member, ...] = ()
    image_ids: tuple[int, ...] = ()
    marked: frozenset[int] = frozenset()

    def piece(self, start: int, stop: int) -> Self:
        """Return some of its pictures as a task of their own."""
        some = slice(start - self.start, stop - self.start)
        members, ids = self.members[some], self.image_ids[some]
        return replace(super().piece(start, stop), members=members, image_ids=ids)


@dataclass(frozen=True)
class StoredSpec:
    """What a worker needs to start.

    Attributes:
        record: of the scan.
        model: where its model is, and `pretrained` its weights.
    """

    record: ScanRecord
    model: str
    pretrained: str
    batch_size: int
    cpus: int


class _AsStored(Reader):
    """Reads members by what a warehouse keeps of them."""

    def __init__(self) -> None:
        super().__init__()
        self._plain = Reader()

    def read(self, member: Member) -> bytes:
        return self._plain.reread(member.key, member.uri, member.fingerprint)

    def close(self) -> None:
        self._plain.close()
        super().close()


class StoredWorker:
    """Holds the model of a scan, and gives its pictures in batches."""

    def __init__(self, spec: StoredSpec) -> None:
        """Load the model, and check that it is the scan's."""
        torch.set_num_threads(spec.cpus)
        self.started = spec
        self.loaded = load_checked(spec.model, spec.pretrained, spec.record)
        self.tower = self.loaded.tower
        self.done = 0

    def pictures(
        self, task: Stored, rejects: list[tuple[str, str]]
    ) -> Iterator[tuple[list[int], Tensor, bool]]:
        """Yield numbers and pixels of the pictures that are not marked, then of those that are."""
        numbers = {m.key: i for m, i in zip(task.members, task.image_ids, strict=True)}
        for marked in (False, True):
            some = [m for m in task.members if (numbers[m.key] in task.marked) == marked]
            if not some:
                continue
            with _AsStored() as reader:
                for loaded in batches(
                    some,
                    reader,
                    self.loaded.transform,
                    batch_size=self.started.batch_size,
                    threads=self.started.cpus,
                    ahead=2 * self.started.batch_size,
                    clock=Clock(),
                    how=Decoding.of(self.started.record.model.preprocessing),
                ):
                    rejects += [(r.member.key, r.reason) for r in loaded.rejects]
                    if loaded.members:
                        pixels = loaded.pixels.to(self.loaded.device, self.loaded.dtype)
                        yield [numbers[m.key] for m in loaded.members], pixels, marked
                    self.done += len(loaded.members) + len(loaded.rejects)


def reject_stored(empty: pa.Table, task: Stored, reason: str) -> Path:
    """Write a chunk none of whose pictures could be had, as a worker would."""
    rejects: Any = [(member.key, reason) for member in task.members]
    write_result(task.path, empty, {"rejects": rejects})
    return task.path


def all_finite(*found: np.ndarray | None) -> np.ndarray:
    """Return of each picture whether all of its numbers are finite."""
    flat = [np.isfinite(x).reshape(len(x), -1).all(axis=1) for x in found if x is not None]
    ok: np.ndarray = np.all(flat, axis=0)
    return ok


def not_finite(task: Stored, numbers: list[int], kept: list[bool]) -> list[tuple[str, str]]:
    """Return rejects of the pictures that are not kept."""
    keys = {number: m.key for number, m in zip(task.image_ids, task.members, strict=True)}
    why = "the model's output is not finite"
    return [(keys[n], why) for n, ok in zip(numbers, kept, strict=True) if not ok]
