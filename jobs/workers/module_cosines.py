"""The worker of `headatlas module-cosines`: from some pictures to a file of sums. No Ray here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from jobs.workers.stored_pictures import Stored, StoredSpec, StoredWorker, not_finite
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.heads.module_cosines import CosineSums, module_cosines
from pipeline.towers.tower import Tower
from warehouse.results.files import write_result


@dataclass(frozen=True)
class CosinesSpec(StoredSpec):
    """What the worker needs to start.

    Attributes:
        weights: unit-norm class weights.
        truth: by image_id, the class of each picture.
    """

    weights: Float[np.ndarray, "class d_joint"]
    truth: Mapping[int, int]


def whole_decomposer(tower: Tower) -> Decomposer:
    """Return the decomposition of all layers, the pool's own as one of them."""
    layers = list(range(tower.n_layers))
    if tower.pool_layer is not None:
        layers.append(tower.pool_layer)
    return Decomposer(tower, head_frames(tower, layers), mlp=True)


class CosinesWorker(StoredWorker):
    """Holds the model; adds up the cosines of its modules."""

    def __init__(self, spec: CosinesSpec) -> None:
        """Load the model."""
        super().__init__(spec)
        self.truth = spec.truth
        self.decomposer = whole_decomposer(self.tower)
        self.weights = torch.as_tensor(np.array(spec.weights)).to(
            self.tower.device, self.decomposer.dtype
        )

    def __call__(self, task: Stored) -> Path:
        """Add up a chunk and write its sums."""
        self.done = 0
        sums, rejects = CosineSums(), list[tuple[str, str]]()
        for numbers, pixels, _ in self.pictures(task, rejects):
            with torch.inference_mode():
                found = self.decomposer(pixels)
                truth = torch.tensor([self.truth[n] for n in numbers], device=pixels.device)
                kept = torch.isfinite(found.embedding).all(dim=1)
                cosines = module_cosines(self.decomposer, found, self.weights, truth)
            rejects += not_finite(task, numbers, kept.tolist())
            sums.add({key: values[kept] for key, values in cosines.items()})
        write_result(task.path, sums.to_table(), {"rejects": rejects})
        self.done = 0
        return task.path
