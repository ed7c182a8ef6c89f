"""Say what is in a warehouse, and what this machine would scan with."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from pydantic import Field

from jobs import console
from schemas.config import Config
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.pools import pools, read_pool
from warehouse.store.zero_shot import zero_shot_of


class InfoConfig(Config):
    """Options of `headatlas info`."""

    warehouse: Path | None = Field(default=None, description="Folder of the warehouse.")


Block = tuple[str, Sequence[str], list[Sequence[object]]]


def run(config: InfoConfig) -> list[Block]:
    """Return tables: this machine, then the scans and pools of the warehouse."""
    console.note("looking for GPUs")
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    machine: list[Sequence[object]] = [
        ("headatlas", version("headatlas")),
        ("python", platform.python_version()),
        *((name, version(name)) for name in ("torch", "open_clip_torch", "ray", "duckdb")),
        ("cores", os.cpu_count()),
        ("GPUs", ", ".join(gpus) or "none"),
    ]
    blocks: list[Block] = [("This machine", ("", ""), machine)]
    if config.warehouse is None:
        return blocks
    warehouse = Warehouse(config.warehouse)
    rows: list[Sequence[object]] = []
    for name in warehouse.scans():
        scan = warehouse.scan(name)
        record, snapshot = scan.load_record(), snapshots.latest(scan)
        zero_shot = (zero_shot_of(scan, record, snapshot) if snapshot else None) or {}
        rows.append(
            (
                name,
                record.model.model,
                f"{record.layers[0]}-{record.layers[-1]} of {record.model.n_layers}",
                snapshot.images if snapshot else 0,
                snapshot.rejects if snapshot else 0,
                snapshot.number if snapshot else None,
                zero_shot.get("accuracy"),
            )
        )
    columns = ("scan", "model", "layers", "images", "rejects", "snapshot", "zero-shot accuracy")
    blocks.append(("Scans", columns, rows))
    listed = [(p.name, len(p.texts)) for p in (read_pool(warehouse, n) for n in pools(warehouse))]
    blocks.append(("Description pools", ("pool", "descriptions"), list(listed)))
    return blocks


def say(config: InfoConfig, done: list[Block]) -> None:
    """Print the tables."""
    for title, columns, rows in done:
        console.table(title, columns, rows)
