"""The worker of `headatlas effects`: from some pictures to a file of effects. No Ray here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from jobs.workers.stored_pictures import Stored, StoredSpec, StoredWorker, all_finite, not_finite
from pipeline.heads.decompose import Decomposer
from pipeline.heads.effect_sums import EffectSums, Measured
from pipeline.heads.effects import (
    Heads,
    attributed_effects,
    direct_effects,
    total_effects,
)
from pipeline.heads.frames import head_frames
from pipeline.heads.integrated import integrated_effects
from pipeline.heads.position_means import PositionSums
from warehouse.results.files import write_result

Method = Literal["exact", "atp"]
Gradients = Literal["integrated", "first order", "dropout"]
PART = pa.schema(
    [
        ("what", pa.string()),
        ("image_id", pa.int64()),
        ("values", pa.list_(pa.float32())),
        ("sums", pa.list_(pa.float64())),
    ]
)
"""A part: of pictures whose total is known their numbers, and the sums of all of them."""


@dataclass(frozen=True)
class EffectsSpec(StoredSpec):
    """What a worker needs to start.

    Attributes:
        heads: of each layer.
        means: of the heads.
        targets: directions.
        method: what is measured of each picture; of those marked, both.
        gradients: which atp is of.
    """

    heads: Heads
    means: PositionSums
    targets: Float[np.ndarray, "target d_joint"]
    method: Method = "exact"
    gradients: Gradients = "integrated"


class EffectsWorker(StoredWorker):
    """Measures effects of heads on some pictures."""

    def __init__(self, spec: EffectsSpec) -> None:
        """Load the model."""
        super().__init__(spec)
        self.spec, self.means = spec, spec.means
        self.targets = torch.tensor(spec.targets, device=self.loaded.device)
        layers = sorted(spec.heads)
        self.decomposer = Decomposer(self.tower, head_frames(self.tower, layers))
        tokens = self.tower.readout.tokens
        self.reads_all = not tokens.start and tokens.stop is None

    def __call__(self, task: Stored) -> Path:
        """Measure a chunk; write the sums, and the numbers of pictures whose total is known."""
        self.done = 0
        sums, rejects, rows = EffectSums(), list[tuple[str, str]](), list[dict[str, object]]()
        for numbers, pixels, marked in self.pictures(task, rejects):
            found = self._measure(pixels, marked)
            kept = all_finite(found.direct, found.total, found.class_only, found.atp)
            rejects += not_finite(task, numbers, kept.tolist())
            if kept.any():
                found = _some(found, kept)
                sums.add(found)
                rows += _rows([n for n, k in zip(numbers, kept, strict=True) if k], found)
        rows += [{"what": k, "sums": v.reshape(-1)} for k, v in sums.sums.items()]
        write_result(task.path, pa.Table.from_pylist(rows, schema=PART), {"rejects": rejects})
        self.done = 0
        return task.path

    def _measure(self, pixels: Tensor, marked: bool) -> Measured:
        heads, means = self.spec.heads, self.means
        with torch.inference_mode():
            parts = self.decomposer(pixels)
            direct = direct_effects(self.decomposer, parts, means, heads, self.targets)
        total = class_only = atp = None
        if marked or self.spec.method == "exact":
            total = self._exact(pixels, read_only=False)
        if marked:
            class_only = total if self.reads_all else self._exact(pixels, read_only=True)
        if marked or self.spec.method == "atp":
            targets = self.targets.to(self.loaded.dtype)
            if self.spec.gradients == "integrated":
                atp = integrated_effects(self.tower, pixels, means, heads, targets)
            else:
                dropout = self.spec.gradients == "dropout"
                atp = attributed_effects(
                    self.tower, pixels, means, heads, targets, gradient_dropout=dropout
                )
        return Measured(_array(direct), *(_maybe(x) for x in (total, class_only, atp)))

    def _exact(self, pixels: Tensor, *, read_only: bool) -> Tensor:
        found = total_effects(self.tower, pixels, self.means, self.spec.heads, read_only=read_only)
        return found.to(self.targets) @ self.targets.T


def _array(found: Tensor) -> np.ndarray:
    return found.float().cpu().numpy()


def _maybe(found: Tensor | None) -> np.ndarray | None:
    return None if found is None else _array(found)


def _some(found: Measured, kept: np.ndarray) -> Measured:
    rest = (found.total, found.class_only, found.atp)
    return Measured(found.direct[kept], *(None if x is None else x[kept] for x in rest))


def _rows(numbers: list[int], found: Measured) -> Iterator[dict[str, object]]:
    if found.total is None:
        return
    for what, values in (("direct", found.direct), ("total", found.total), ("atp", found.atp)):
        if values is not None:
            for number, of in zip(numbers, values, strict=True):
                yield {"what": what, "image_id": number, "values": of.reshape(-1)}
