"""A worker that adds up what components of the model write at each token. No Ray here."""

from dataclasses import dataclass
from pathlib import Path

import torch

from jobs.workers.stored_pictures import Stored, StoredSpec, StoredWorker, not_finite
from pipeline.heads.position_means import Layers, PositionSums, decomposer_for, parts_of
from warehouse.results.files import write_result


@dataclass(frozen=True)
class MeansSpec(StoredSpec):
    """What a worker needs to start.

    Attributes:
        layers: whose parts are added up.
    """

    layers: Layers


class MeansWorker(StoredWorker):
    """Adds up what components write at each token of some pictures."""

    def __init__(self, spec: MeansSpec) -> None:
        """Load the model."""
        super().__init__(spec)
        self.layers = spec.layers
        self.decomposer = decomposer_for(self.tower, spec.layers)

    def __call__(self, task: Stored) -> Path:
        """Add up a chunk and write its sums."""
        self.done = 0
        sums, rejects = PositionSums(), list[tuple[str, str]]()
        for numbers, pixels, _ in self.pictures(task, rejects):
            with torch.inference_mode():
                parts, _ = parts_of(self.decomposer, pixels, self.layers)
            finite = [part.flatten(1).isfinite().all(dim=1) for part in parts.values()]
            kept = torch.stack(finite).all(dim=0)
            rejects += not_finite(task, numbers, kept.tolist())
            if kept.any():
                sums.add({key: part[kept] for key, part in parts.items()})
        write_result(task.path, sums.to_table(), {"rejects": rejects})
        self.done = 0
        return task.path
