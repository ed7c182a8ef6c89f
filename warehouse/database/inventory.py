"""What there is to publish: scans with their newest snapshots, and the results made of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.kinds import Kind
from schemas.manifest import ScanRecord, Snapshot
from schemas.results import KINDS
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.files import check_columns, list_results, read_provenance
from warehouse.store import snapshots


@dataclass(frozen=True)
class Source:
    """A scan as it is published."""

    scan: ScanDir
    record: ScanRecord
    snapshot: Snapshot

    @property
    def shards(self) -> list[str]:
        """The live shards that hold pictures."""
        return [live.shard for live in self.snapshot.shards if live.rows]

    def files(self, name: str, shards: Sequence[str]) -> list[str]:
        """Return the path of one file in each of the shards."""
        return [str(self.scan.shard(s) / name) for s in shards]


@dataclass(frozen=True)
class Result:
    """A result's file, and what its table says of it."""

    scan: str | None
    kind: str
    name: str
    path: Path
    provenance: dict[str, Any]
    stale: bool
    is_default: bool

    @property
    def parameters(self) -> dict[str, Any]:
        """Values for the statements that load it."""
        made = self.provenance.get("created_at")
        return {
            "scan": self.scan,
            "kind": self.kind,
            "name": self.name,
            "path": str(self.path),
            "snapshot": self.provenance.get("snapshot"),
            "stale": self.stale,
            "is_default": self.is_default,
            "created_at": utc(made) if made else None,
            "provenance": json.dumps(self.provenance),
        }


def find_sources(warehouse: Warehouse, scans: Sequence[str] | None) -> list[Source]:
    """Return the scans to publish, oldest first: the last is the default."""
    found = []
    for name in warehouse.scans() if scans is None else dict.fromkeys(scans):
        scan = warehouse.scan(name)
        snapshot = snapshots.latest(scan)
        if snapshot is not None:
            found.append(Source(scan, scan.load_record(), snapshot))
    return sorted(found, key=lambda s: (utc(s.record.created_at), s.scan.name))


def utc(text: str) -> datetime:
    """Read an ISO 8601 time as UTC, without a zone: as DuckDB's TIMESTAMP."""
    when = datetime.fromisoformat(text)
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when


def find_results(source: Source) -> list[Result]:
    """Return the result files of a scan; the newest of each kind is its default."""
    found = []
    for kind in KINDS.values():
        if kind.of == "scan":
            paths = list_results(source.scan, kind.name)
            found += _results(kind, paths, source.scan.name, source.snapshot.number)
    return found


def find_warehouse_results(warehouse: Warehouse) -> list[Result]:
    """Return the result files that belong to no scan.

    Raises:
        CorruptStore: a file cannot be read, or its columns are not those declared.
    """
    found = []
    for kind in KINDS.values():
        if kind.of == "warehouse":
            paths = sorted((warehouse.root / kind.name).glob("*.parquet"))
            for path in paths:
                check_columns(path, kind.schema, kind.command)
            found += _results(kind, paths, None, None)
    return found


def _results(
    kind: Kind, paths: Sequence[Path], scan: str | None, snapshot: int | None
) -> list[Result]:
    made = [(read_provenance(p), p) for p in paths]
    made.sort(key=lambda pair: (str(pair[0].get("created_at", "")), pair[1].name))
    return [
        Result(
            scan=scan,
            kind=kind.name,
            name=path.stem,
            path=path,
            provenance=provenance,
            stale="snapshot" in provenance and provenance["snapshot"] != snapshot,
            is_default=path == made[-1][1],
        )
        for provenance, path in made
    ]
