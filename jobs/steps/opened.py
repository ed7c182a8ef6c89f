"""A scan opened for computing: what the warehouse holds of it, with its frames and moments."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from pipeline.heads import moments as mo
from pipeline.heads.merging import merge_tables
from pipeline.heads.stored_frames import Frames, load_frames
from schemas.errors import UsageError
from schemas.manifest import Snapshot
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store.means import Means, means_of
from warehouse.store.merged import merged_moments
from warehouse.store.opened import OpenedScan, open_snapshot


@dataclass(frozen=True)
class Opened(OpenedScan):
    """An opened scan whose frames and moments are read when first asked for, and once."""

    @cached_property
    def frames(self) -> Frames:
        """The head frames of the stored layers."""
        return load_frames(self.scan.frames, self.record.frames_sha256)

    @cached_property
    def heads(self) -> list[tuple[int, int]]:
        """(layer, head) of all stored heads, ascending."""
        return list(mo.head_keys(self.moments))

    @cached_property
    def moments(self) -> dict[mo.Key, mo.Moments]:
        """Every component's moments over all pictures of the snapshot."""
        return mo.from_table(merged_moments(self.scan, self.snapshot, merge_tables))

    @cached_property
    def framed(self) -> list[tuple[int, int]]:
        """(layer, head) of all stored heads that have a frame, ascending: those with texts.

        Raises:
            UsageError: there is none.
        """
        narrow = self.frames.narrow()
        found = [head for head in self.heads if head[0] in narrow]
        if not found:
            raise UsageError(
                f"scan {self.name!r} stores no head with a frame of its own: of no picture, or "
                "behind a pool; scan the pool's layer, without --pool-mlp gated"
            )
        return found

    def frame(self, layer: int, head: int) -> Float[np.ndarray, "d_joint _"]:
        """Return the frame of one stored head."""
        found: np.ndarray = self.frames.of(layer)[head]
        return found

    def means(self, component: str = "head") -> Means:
        """Return the means of all heads (`head`), MLPs (`mlp`), ..., over all pictures.

        Raises:
            UsageError: there is no picture.
        """
        return means_of(
            self.scan, merged_moments(self.scan, self.snapshot, merge_tables), component
        )

    def covariance(self, layer: int, head: int) -> Float[np.ndarray, "_ _"]:
        """Return the covariance of one stored head's vectors over all pictures."""
        return self.moments["head", layer, head].covariance


def open_scan(warehouse: Warehouse, name: str | None) -> Opened:
    """Open a scan's newest snapshot; without a name, that of the default scan.

    Raises:
        UnknownName: no such scan, or none that has committed anything.
    """
    found = open_snapshot(warehouse, name)
    return Opened(found.warehouse, found.scan, found.record, found.snapshot)


def opened(scan: ScanDir, snapshot: Snapshot) -> Opened:
    """Open a snapshot that is at hand, as a scan's own has just been committed."""
    root = scan.path.parent.parent
    return Opened(Warehouse(root), scan, scan.load_record(), snapshot)
