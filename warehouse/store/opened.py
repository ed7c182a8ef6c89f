"""A data set's scan, opened once: its record, the snapshot that is read, what lies in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from schemas.manifest import ScanRecord, Snapshot
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import snapshots
from warehouse.store.content import Content, content
from warehouse.store.reading import read_images


@dataclass(frozen=True)
class OpenedScan:
    """A scan and one snapshot of it; later commits do not change what is read through this.

    Attributes:
        warehouse: where it lies.
        scan: its folder.
        record: its configuration.
        snapshot: the one that is read.
    """

    warehouse: Warehouse
    scan: ScanDir
    record: ScanRecord
    snapshot: Snapshot

    @property
    def name(self) -> str:
        """The scan's identifier."""
        return self.scan.name

    @cached_property
    def shards(self) -> list[str]:
        """The live shards that hold pictures, in the snapshot's order."""
        return [live.shard for live in self.snapshot.shards if live.rows]

    @cached_property
    def content(self) -> Content:
        """Digests of what the snapshot holds."""
        return content(self.scan, self.snapshot)

    @cached_property
    def image_ids(self) -> Int64[np.ndarray, " image"]:
        """Every picture's image_id, in the order of `shards` and of their rows."""
        ids: np.ndarray = self.images(["image_id"])["image_id"].to_numpy()
        return ids

    def images(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the image rows of all pictures, in the order of `shards`."""
        return read_images(self.scan, self.shards, columns)

    def images_of(self, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the image rows of one shard."""
        return read_images(self.scan, [shard], columns)


def open_snapshot(warehouse: Warehouse, name: str | None) -> OpenedScan:
    """Open a scan's newest snapshot; without a name, that of the default scan.

    Raises:
        UnknownName: no such scan, or none that has committed anything.
    """
    scan, snapshot = snapshots.open_scan(warehouse, name)
    return OpenedScan(warehouse, scan, scan.load_record(), snapshot)
