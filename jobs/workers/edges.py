"""The worker of `headatlas edges`: from some pictures to a file of sums. No Ray here."""

from pathlib import Path

import torch

from jobs.workers.stored_pictures import Stored, StoredSpec, StoredWorker, not_finite
from pipeline.heads.decompose import Decomposer
from pipeline.heads.edge_sums import EdgeSums, EdgeWatch
from pipeline.heads.edges import Edges
from pipeline.heads.stored_frames import Frames
from warehouse.results.files import write_result


class EdgesWorker(StoredWorker):
    """Holds the model; adds up what heads are made of."""

    def __init__(self, spec: StoredSpec) -> None:
        """Load the model.

        Raises:
            UnsupportedModel: its heads are no sum of earlier parts.
        """
        super().__init__(spec)
        self.watch = EdgeWatch(Edges(self.tower))
        self.decomposer = Decomposer(self.tower, Frames({}))

    def __call__(self, task: Stored) -> Path:
        """Add up a chunk and write its sums."""
        self.done = 0
        sums, rejects = EdgeSums(), list[tuple[str, str]]()
        for numbers, pixels, _ in self.pictures(task, rejects):
            found = self.decomposer(pixels, self.watch)
            more, kept = self.watch.take(found), torch.isfinite(found.embedding).all(dim=1)
            rejects += not_finite(task, numbers, kept.tolist())
            if not kept.all():
                # one picture's infinity is in the sums of all: once more without it
                more = EdgeSums()
                if kept.any():
                    more = self.watch.take(self.decomposer(pixels[kept], self.watch))
            sums.merge(more)
        write_result(task.path, sums.to_table(), {"rejects": rejects})
        self.done = 0
        return task.path
