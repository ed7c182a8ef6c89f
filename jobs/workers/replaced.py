"""The worker of `headatlas ablate --total`: what is predicted of pictures without some components.

No Ray here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from jobs.workers.stored_pictures import Stored, StoredSpec, StoredWorker, all_finite, not_finite
from pipeline.heads.position_means import PositionSums, decomposer_for, parts_of
from pipeline.heads.replaced import Case, Replacing, direct, layers_of
from warehouse.results.files import write_result

PART = pa.schema(
    [
        ("image_id", pa.int64()),
        ("direct", pa.list_(pa.int32())),
        ("total", pa.list_(pa.int32())),
    ]
)
"""A part: of each picture the class predicted in each case."""


@dataclass(frozen=True)
class ReplacedSpec(StoredSpec):
    """What a worker needs to start.

    Attributes:
        cases: what is replaced.
        means: by what; None: by zero.
        everywhere: at every token, or at those alone that the read-out reads.
        weights: of the classes.
    """

    cases: tuple[Case, ...]
    means: PositionSums | None
    everywhere: bool
    weights: Float[np.ndarray, "class d_joint"]


class ReplacedWorker(StoredWorker):
    """Runs the model with components replaced."""

    def __init__(self, spec: ReplacedSpec) -> None:
        """Load the model.

        Raises:
            UnsupportedModel: it has not what is to be replaced.
        """
        super().__init__(spec)
        self.spec, self.layers = spec, layers_of(spec.cases)
        self.decomposer = decomposer_for(self.tower, self.layers)
        self.replacing = Replacing(self.tower, spec.means, spec.everywhere)
        self.replacing.require(spec.cases)
        self.weights = torch.tensor(spec.weights, device=self.loaded.device)

    def __call__(self, task: Stored) -> Path:
        """Classify a chunk's pictures in each case, and write the classes."""
        self.done = 0
        rejects, found = list[tuple[str, str]](), list[dict[str, object]]()
        for numbers, pixels, _ in self.pictures(task, rejects):
            logits = self._predict(pixels)
            kept = all_finite(*(x.transpose(0, 1).numpy() for x in logits))
            rejects += not_finite(task, numbers, kept.tolist())
            classes = [x.argmax(dim=-1).T.tolist() for x in logits]
            rows = zip(numbers, *classes, kept.tolist(), strict=True)
            found += [
                {"image_id": n, "direct": before, "total": after}
                for n, before, after, ok in rows
                if ok
            ]
        write_result(task.path, pa.Table.from_pylist(found, schema=PART), {"rejects": rejects})
        self.done = 0
        return task.path

    def _predict(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [case, image, class], predicted directly and by running the model."""
        cases, means = self.spec.cases, self.spec.means
        with torch.inference_mode():
            parts, whole = parts_of(self.decomposer, pixels, self.layers)
            found = (
                direct(self.decomposer, parts, whole, means, cases),
                self.replacing.total(pixels, cases),
            )
            return tuple((x.to(self.weights) @ self.weights.T).cpu() for x in found)  # type: ignore[return-value]
