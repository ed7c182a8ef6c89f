"""`headatlas refresh`: what a scheduler runs every night; each step only where it is needed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import pool, publish, scan, textspan
from schemas.config import (
    Night,
    PoolImportConfig,
    PublishConfig,
    RefreshConfig,
    ScanConfig,
    TextSpanConfig,
    load_yaml,
)
from schemas.errors import TooManyRejects, UsageError
from warehouse import snapshots
from warehouse.layout import Warehouse
from warehouse.pools import pools
from warehouse.publish import Published
from warehouse.results import read_provenance


@dataclass(frozen=True)
class RefreshResult:
    """What a refresh did: the scan, the bases made anew, and the version published, if any."""

    scan: scan.ScanResult
    bases: tuple[str, ...]
    published: Published | None


def run(config: RefreshConfig) -> RefreshResult:
    """Scan, then make stale bases anew, then publish if anything changed.

    Raises:
        UsageError: the plan is no such file.
        TooManyRejects: after everything else is done.
    """
    night = Night.checked(load_yaml(config.plan))
    warehouse = Warehouse(night.warehouse)
    asked = ScanConfig.checked({"warehouse": night.warehouse, **_underscored(night.scan)})
    rejects: TooManyRejects | None = None
    before = _newest(warehouse, asked)
    try:
        done = scan.run(asked)
    except TooManyRejects as error:
        rejects, done = error, scan.run(asked.model_copy(update={"max_rejects": None}))
    bases = tuple(
        name
        for options in night.textspan
        if (name := _basis(warehouse, done, _underscored(options))) is not None
    )
    published = None
    if bases or done.snapshot != before or not warehouse.database.exists():
        options = {"warehouse": night.warehouse, **_underscored(night.publish)}
        published = publish.run(PublishConfig.checked(options))
    if rejects is not None:
        raise rejects
    return RefreshResult(done, bases, published)


def _underscored(options: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("-", "_"): value for name, value in options.items()}


def _newest(warehouse: Warehouse, asked: ScanConfig) -> int | None:
    if asked.scan is None or asked.scan not in warehouse.scans():
        return None
    snapshot = snapshots.latest(warehouse.scan(asked.scan))
    return None if snapshot is None else snapshot.number


def _basis(warehouse: Warehouse, done: scan.ScanResult, options: dict[str, Any]) -> str | None:
    """Make a basis unless this snapshot has it already; a shipped pool is imported if needed."""
    asked = TextSpanConfig.checked({"warehouse": warehouse.root, "scan": done.scan, **options})
    if asked.pool not in pools(warehouse):
        if asked.pool not in pool.SHIPPED:
            raise UsageError(
                f"textspan: no pool {asked.pool!r} in {warehouse.root}; import it first"
            )
        pool.run_import(
            PoolImportConfig(file=Path(asked.pool), warehouse=warehouse.root, name=asked.pool)
        )
    path = textspan.basis_path(warehouse.scan(done.scan), asked)
    if path.is_file() and read_provenance(path).get("snapshot") == done.snapshot:
        return None
    return textspan.run(asked).basis
