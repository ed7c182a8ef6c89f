"""The worker of `headatlas map-statistics`: from some pictures to a file of sums. No Ray here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jobs.steps.chunks import Chunk
from jobs.workers.scan import load_checked
from pipeline.maps.pooled import EVERY, Pooled
from pipeline.maps.statistics import HeadMapStatistics, head_map_statistics
from pipeline.masks.protocol import mask_for_model
from pipeline.masks.registry import IGNORE, Labelled
from pipeline.pictures.decode import Decoding
from pipeline.pictures.loader import Clock, batches
from pipeline.sources.reader import Reader
from schemas.errors import SourceError
from schemas.manifest import ScanRecord
from schemas.members import Member
from warehouse.results.files import write_result

# Numbers of each statistic (picture x head x text) of one forward pass.
CELLS = 2**22

Masks = Literal["foreground", "classes"]
Groups = Mapping[str | None, int]


@dataclass(frozen=True)
class Pictures(Chunk):
    """A chunk, with its pictures where no data set with masks has them.

    Attributes:
        members: as their source lists them; empty for a data set with masks.
    """

    members: tuple[Member, ...] = ()

    def piece(self, start: int, stop: int) -> Self:
        """Return some of its pictures as a task of their own."""
        members = self.members[start - self.start : stop - self.start]
        return replace(super().piece(start, stop), members=members)


@dataclass(frozen=True)
class StatisticsSpec:
    """Everything a worker needs to start.

    Attributes:
        record: of the scan whose model it is; the weights must be the same.
        texts: unit norm.
        against: what they are compared with, unit norm.
        layers: whose heads are measured.
        data: the data set with masks; None where pictures come with their chunk.
        masks: what of the masks is measured.
        batch_size: pictures of a forward pass, or fewer where there are many heads and texts.
    """

    record: ScanRecord
    model: str
    pretrained: str
    texts: Float[np.ndarray, "text d_joint"]
    against: Float[np.ndarray, "label d_joint"]
    layers: tuple[int, ...]
    data: Labelled | None
    masks: Masks | None
    batch_size: int
    cpus: int


@dataclass(frozen=True)
class _Batch:
    """Pictures for one forward pass.

    Attributes:
        keys: their names.
        pixels: preprocessed.
        regions: masks at the model's size, 1 inside; filled up with empty ones.
        groups: for each picture, the groups that it counts in and their region.
    """

    keys: list[str]
    pixels: Float[Tensor, "image 3 height width"]
    regions: Float[Tensor, "image region height width"]
    groups: list[Groups]


class StatisticsWorker:
    """Holds the model; adds up the statistics of one chunk of pictures after another."""

    def __init__(self, spec: StatisticsSpec) -> None:
        """Load the model, and check that it is the scan's."""
        torch.set_num_threads(spec.cpus)
        self.spec = spec
        self.loaded = load_checked(spec.model, spec.pretrained, spec.record)
        device, dtype = self.loaded.device, self.loaded.dtype
        self.texts = torch.from_numpy(spec.texts).to(device, dtype)
        self.against = torch.from_numpy(spec.against).to(device, dtype)
        cells = len(spec.layers) * spec.record.model.n_heads * len(spec.texts)
        self.batch_size = max(1, min(spec.batch_size, CELLS // cells))
        self.how = Decoding.of(spec.record.model.preprocessing)
        self.done = 0

    def __call__(self, task: Pictures) -> Path:
        """Add up a chunk and write its sums; pictures left out are told in the file's metadata."""
        self.done = 0
        pooled, rejects = Pooled(), list[tuple[str, str]]()
        source = self._listed if self.spec.data is None else self._masked
        for batch in source(task, rejects):
            self._add(batch, pooled, rejects)
        write_result(task.path, pooled.to_table(), {"rejects": rejects})
        self.done = 0
        return task.path

    def _add(self, batch: _Batch, pooled: Pooled, rejects: list[tuple[str, str]]) -> None:
        with torch.inference_mode():
            found = head_map_statistics(
                self.loaded.tower,
                batch.pixels.to(self.loaded.device, self.loaded.dtype),
                self.texts,
                self.against,
                batch.regions,
                self.spec.layers,
            )
        finite = _finite(found)
        if not all(finite):
            reason = f"the model's output is not finite in {self.spec.record.precision}"
            rejects += [(k, reason) for k, ok in zip(batch.keys, finite, strict=True) if not ok]
        pooled.add(found, [of if ok else {} for of, ok in zip(batch.groups, finite, strict=True)])

    def _listed(self, task: Pictures, rejects: list[tuple[str, str]]) -> Iterator[_Batch]:
        """Yield the pictures of a listing, decoded by threads that run ahead."""
        with Reader() as reader:
            for loaded in batches(
                task.members,
                reader,
                self.loaded.transform,
                batch_size=self.batch_size,
                threads=self.spec.cpus,
                ahead=2 * self.batch_size,
                clock=Clock(),
                how=self.how,
            ):
                rejects += [(r.member.key, r.reason) for r in loaded.rejects]
                if loaded.members:
                    groups = [dict.fromkeys((EVERY, m.label), 0) for m in loaded.members]
                    keys = [m.key for m in loaded.members]
                    none = loaded.pixels[:, :0]
                    yield _Batch(keys, loaded.pixels, none, list[Groups](groups))
                self.done += len(loaded.members) + len(loaded.rejects)

    def _masked(self, task: Pictures, rejects: list[tuple[str, str]]) -> Iterator[_Batch]:
        """Yield the pictures of a data set with masks."""
        data, preprocessing = self.spec.data, self.loaded.record.preprocessing
        assert data is not None
        for start in range(task.start, task.stop, self.batch_size):
            numbers = range(start, min(start + self.batch_size, task.stop))
            keys, pixels, regions, groups = [], [], [], list[Groups]()
            for number in numbers:
                try:
                    example = data.read(number, self.how)
                except SourceError as error:
                    rejects.append((data.keys[number], str(error)))
                    continue
                keys.append(data.keys[number])
                pixels.append(self.loaded.transform(example.picture))
                mask = mask_for_model(example.mask, preprocessing, "aligned")
                planes, of = self._regions(mask, data.labels[number])
                regions.append(planes)
                groups.append(of)
            if keys:
                most = max(map(len, regions))
                filled = np.zeros((len(keys), most, *regions[0].shape[1:]), np.float32)
                for i, planes in enumerate(regions):
                    filled[i, : len(planes)] = planes
                yield _Batch(keys, torch.stack(pixels), torch.from_numpy(filled), groups)
            self.done += len(numbers)

    def _regions(
        self, mask: np.ndarray, label: str | None
    ) -> tuple[Float[np.ndarray, "region rows columns"], Groups]:
        """Return a picture's regions and groups; pixels that are ignored are in no region."""
        foreground = (mask != 0) & (mask != IGNORE)
        if self.spec.masks == "foreground" or self.spec.data is None:
            return foreground[None].astype(np.float32), dict.fromkeys((EVERY, label), 0)
        there = np.unique(mask[foreground]).tolist()
        planes = np.stack([foreground, *(mask == c for c in there)]).astype(np.float32)
        names = self.spec.data.classes
        return planes, {EVERY: 0, **{names[c - 1]: i for i, c in enumerate(there, 1)}}


def reject_chunk(data: Labelled | None, task: Pictures, reason: str) -> Path:
    """Write a chunk none of whose pictures could be had, as a worker would."""
    numbers = range(task.start, task.stop)
    keys = [m.key for m in task.members] if data is None else [data.keys[n] for n in numbers]
    write_result(task.path, Pooled().to_table(), {"rejects": [(key, reason) for key in keys]})
    return task.path


def _finite(found: HeadMapStatistics) -> list[bool]:
    """Return of each picture whether all of its numbers are finite."""
    values = (found.total, found.magnitude, found.focus)
    ok = torch.stack([torch.isfinite(v).flatten(1).all(dim=1) for v in values]).all(dim=0)
    return [bool(x) for x in ok.tolist()]
