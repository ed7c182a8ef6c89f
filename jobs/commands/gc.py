"""Delete shards that no kept snapshot and no published version names."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from jobs import console
from schemas.config import Config
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.store import gc
from warehouse.store.runs import KEEP, prune_runs

WRITES = True


class GcConfig(Config):
    """Options of `headatlas gc`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    keep: int = Field(default=3, ge=1, description="Snapshots of each scan to keep.")
    keep_runs: int = Field(default=KEEP, ge=1, description="Records of runs to keep.")


@dataclass(frozen=True)
class GcResult:
    """What was deleted: shards, by scan; what killed runs had left; and records of old runs."""

    collected: tuple[gc.Collected, ...]
    swept: gc.Swept
    runs: int = 0


def run(config: GcConfig) -> GcResult:
    """Delete the shards that nothing names, and what killed runs have left; old records."""
    warehouse = Warehouse(config.warehouse)
    collected = tuple(
        gc.collect(warehouse, name, keep_snapshots=config.keep) for name in warehouse.scans()
    )
    return GcResult(collected, gc.sweep(warehouse), prune_runs(warehouse, config.keep_runs))


def say(config: GcConfig, done: GcResult) -> None:
    """Say how much was deleted."""
    for found in done.collected:
        console.note(
            f"{found.scan}: deleted {how_many(len(found.shards), 'shard')}, "
            f"{console.size(found.bytes)}"
        )
    for name in done.swept.results:
        console.note(f"{name}: deleted, of another model or configuration than its scan is now")
    if done.swept.files:
        console.note(
            f"left by killed runs: deleted {how_many(done.swept.files, 'file')}, "
            f"{console.size(done.swept.bytes)}"
        )
    if done.runs:
        console.note(f"deleted the oldest records: {how_many(done.runs, 'run')}")
