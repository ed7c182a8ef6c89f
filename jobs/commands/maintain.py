"""`headatlas verify`, `gc` and `compact`: looking after a warehouse's files."""

from pipeline.heads import moments as mo
from schemas.config import CompactConfig, GcConfig, VerifyConfig
from schemas.manifest import Snapshot
from warehouse.files.layout import Warehouse
from warehouse.results import segmentation
from warehouse.store import gc, verify
from warehouse.store import rewrite as copy


def _names(warehouse: Warehouse, scan: str | None) -> list[str]:
    return [warehouse.scan(scan).name] if scan is not None else warehouse.scans()


def run_verify(config: VerifyConfig) -> list[verify.Report]:
    """Check every file of the live shards against what was written."""
    warehouse = Warehouse(config.warehouse)
    return [
        verify.verify(warehouse.scan(name), deep=not config.quick)
        for name in _names(warehouse, config.scan)
    ]


def run_verify_segmentation(config: VerifyConfig) -> list[verify.Problem]:
    """Check the runs of segment, which belong to no scan; none when one scan is asked for."""
    return segmentation.verify_runs(Warehouse(config.warehouse)) if config.scan is None else []


def run_gc(config: GcConfig) -> list[gc.Collected]:
    """Delete the shards that no kept snapshot and no published version names."""
    warehouse = Warehouse(config.warehouse)
    return [gc.collect(warehouse, name, keep_snapshots=config.keep) for name in warehouse.scans()]


def run_sweep(config: GcConfig) -> gc.Swept:
    """Delete what killed runs have left beside results."""
    return gc.sweep(Warehouse(config.warehouse))


def run_compact(config: CompactConfig) -> list[Snapshot]:
    """Merge small shards into larger ones; nothing is computed again."""
    warehouse = Warehouse(config.warehouse)
    compacted = (
        copy.compact(warehouse.scan(name), config.shard_size, mo.merge_tables)
        for name in _names(warehouse, config.scan)
    )
    return [snapshot for snapshot in compacted if snapshot is not None]
