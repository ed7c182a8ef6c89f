"""What keeps nights from adding up to files without end: compaction, gc, old records.

Killed anywhere, the next night does it again: merged shards are taken up by their names, and a
snapshot is deleted before the shards that it alone names.
"""

from dataclasses import dataclass

from pydantic import Field

from jobs import console
from pipeline.heads.merging import merge_tables
from schemas.config import Config
from warehouse.files.layout import Warehouse
from warehouse.store import gc, snapshots
from warehouse.store.housekeeping import compaction_due
from warehouse.store.merged import merged_moments
from warehouse.store.rewrite import compact
from warehouse.store.runs import KEEP, prune_runs


class Keep(Config):
    """How much of the past a night leaves."""

    versions: int | None = Field(
        default=None, ge=1, description="Published versions; default, as `publish --keep` was."
    )
    snapshots: int = Field(default=3, ge=1, description="Snapshots of each scan.")
    runs: int = Field(default=KEEP, ge=1, description="Records of runs.")


@dataclass(frozen=True)
class Housekeeping:
    """What was tidied.

    Attributes:
        merged: shards fewer than before, by compaction.
        shards: shards of the scan now.
        deleted_shards: shards deleted, of all scans.
        deleted_snapshots: snapshots deleted, of all scans.
        deleted_runs: records of runs deleted.
        freed: bytes deleted.
    """

    merged: int = 0
    shards: int = 0
    deleted_shards: int = 0
    deleted_snapshots: int = 0
    deleted_runs: int = 0
    freed: int = 0


def compact_if_due(warehouse: Warehouse, name: str, shard_size: int, share: float | None) -> int:
    """Merge a scan's small shards where they exceed `share` of all; return how many are saved.

    Raises:
        Locked: another run is writing the scan.
    """
    scan = warehouse.scan(name)
    before = snapshots.latest(scan)
    if before is None or share is None or not compaction_due(before, shard_size, share=share):
        return 0
    after = compact(scan, shard_size, merge_tables)
    if after is None:
        return 0
    merged_moments(scan, after, merge_tables)
    console.note(f"{name}: {len(before.shards)} shards were merged into {len(after.shards)}")
    return len(before.shards) - len(after.shards)


def tidy(warehouse: Warehouse, name: str, keep: Keep | None, merged: int) -> Housekeeping:
    """Delete what no kept snapshot, version or run needs; say what that came to for scan `name`.

    Raises:
        Locked: another run is writing one of the scans.
    """
    newest = snapshots.latest(warehouse.scan(name))
    shards = len(newest.shards) if newest is not None else 0
    if keep is None:
        return Housekeeping(merged, shards)
    gone = [
        gc.collect(warehouse, scan, keep_snapshots=keep.snapshots) for scan in warehouse.scans()
    ]
    swept = gc.sweep(warehouse)
    return Housekeeping(
        merged,
        shards,
        sum(len(one.shards) for one in gone),
        sum(len(one.snapshots) for one in gone),
        prune_runs(warehouse, keep.runs),
        sum(one.bytes for one in gone) + swept.bytes,
    )
