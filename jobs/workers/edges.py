"""The worker of `headatlas edges`: from some pictures to a file of sums. No Ray here."""

from pathlib import Path

import torch

from jobs.workers.stored_pictures import Stored, StoredSpec, StoredWorker, not_finite
from pipeline.heads.edges import Edges, EdgeSums, Rebuilt
from warehouse.results.files import write_result


class EdgesWorker(StoredWorker):
    """Holds the model; adds up what heads are made of."""

    def __init__(self, spec: StoredSpec) -> None:
        """Load the model.

        Raises:
            UnsupportedModel: its heads are no sum of earlier parts.
        """
        super().__init__(spec)
        self.edges = Edges(self.tower)

    def __call__(self, task: Stored) -> Path:
        """Add up a chunk and write its sums."""
        self.done = 0
        sums, rejects = EdgeSums(), list[tuple[str, str]]()
        for numbers, pixels, _ in self.pictures(task, rejects):
            with torch.inference_mode():
                kept = torch.isfinite(self.tower.states(pixels)).flatten(1).all(dim=1)
                rejects += not_finite(task, numbers, kept.tolist())
                if not kept.any():
                    continue
                found: Rebuilt
                for found in self.edges(pixels[kept]):
                    sums.add(found)
        write_result(task.path, sums.to_table(), {"rejects": rejects})
        self.done = 0
        return task.path
