"""Merge small shards into larger ones; nothing is computed again."""

from pathlib import Path

from pydantic import Field

from jobs import console
from pipeline.heads.merging import merge_tables
from schemas.config import Config
from schemas.manifest import Snapshot
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.store import rewrite as copy

WRITES = True


class CompactConfig(Config):
    """Options of `headatlas compact`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Only this scan; default, all.")
    shard_size: int = Field(default=4096, ge=1, description="Pictures per merged shard.")


def run(config: CompactConfig) -> list[Snapshot]:
    """Merge small shards into larger ones; return the snapshots that were committed."""
    warehouse = Warehouse(config.warehouse)
    names = [warehouse.scan(config.scan).name] if config.scan is not None else warehouse.scans()
    compacted = (
        copy.compact(warehouse.scan(name), config.shard_size, merge_tables) for name in names
    )
    return [snapshot for snapshot in compacted if snapshot is not None]


def say(config: CompactConfig, done: list[Snapshot]) -> None:
    """Say which snapshots were committed."""
    for snapshot in done:
        console.note(f"snapshot {snapshot.number}: {how_many(len(snapshot.shards), 'shard')}")
