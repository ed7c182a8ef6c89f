"""What there is to publish: scans with their newest snapshots, and the results made of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.kinds import Kind
from schemas.manifest import ScanRecord, Snapshot
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.claims import Now, foreign, in_words
from warehouse.results.files import check_columns, check_seal, read_provenance
from warehouse.results.registry import stored
from warehouse.store import merged, snapshots
from warehouse.store.newest import age


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

    @property
    def frames(self) -> Path:
        """The head frames as SQL reads them; a scan of an older version may not have the file."""
        return self.scan.frame_table(self.record.frames_sha256)

    @property
    def moments(self) -> Path | None:
        """The moments merged over the snapshot's pictures, where they are merged already."""
        root = merged.tree(self.scan, self.snapshot)
        return root.path if root is not None and root.path.is_file() else None

    def files(self, name: str, shards: Sequence[str]) -> list[str]:
        """Return the path of one file in each of the shards."""
        return [str(self.scan.shard(s) / name) for s in shards]


@dataclass(frozen=True)
class Result:
    """A result's file, and what its table says of it.

    Attributes:
        scan: None for a result that belongs to none.
        why: why it is not current; None when it is.
        shown: whether its rows are loaded: not where it is of another model or configuration.
        is_default: whether it is the newest of its kind that is shown.
    """

    scan: str | None
    kind: Kind
    name: str
    path: Path
    provenance: dict[str, Any]
    why: str | None
    shown: bool
    is_default: bool = False

    @property
    def label(self) -> str:
        """`SCAN/KIND/NAME`."""
        return "/".join([*([self.scan] if self.scan else []), self.kind.name, self.name])

    @property
    def parameters(self) -> dict[str, Any]:
        """Values for the statements that load it."""
        made = self.provenance.get("created_at")
        return {
            "scan": self.scan,
            "kind": self.kind.name,
            "name": self.name,
            "path": str(self.path),
            "snapshot": self.provenance.get("snapshot"),
            "stale": self.why is not None,
            "why": self.why,
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
    return sorted(found, key=lambda s: age(s.record))


def utc(text: str) -> datetime:
    """Read an ISO 8601 time as UTC, without a zone: as DuckDB's TIMESTAMP."""
    when = datetime.fromisoformat(text)
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when


def find_results(warehouse: Warehouse, sources: Sequence[Source]) -> list[Result]:
    """Return the results of some scans, and those that are of no scan.

    Raises:
        CorruptStore: a file cannot be read, or is not what was written.
        NewerFormat: a newer version of the program has written it.
    """
    found = []
    for source in sources:
        now = Now(warehouse, source.scan, source.record, source.snapshot)
        found += _with_defaults([_result(now, *one) for one in stored(source.scan)])
    now = Now(warehouse)
    return found + _with_defaults([_result(now, *one) for one in stored(warehouse)])


def _result(now: Now, kind: Kind, path: Path) -> Result:
    check_seal(path)
    provenance = read_provenance(path)
    broken = now.broken(kind, provenance)
    shown = not foreign(broken)
    if shown:
        check_columns(path, kind)
    scan = now.scan.name if now.scan else None
    return Result(scan, kind, path.stem, path, provenance, in_words(broken), shown)


def _with_defaults(results: Sequence[Result]) -> list[Result]:
    """Return the results, the newest of each kind that is shown marked as its default."""
    newest: dict[str, Result] = {}
    for one in sorted(results, key=lambda r: (str(r.provenance.get("created_at", "")), r.name)):
        if one.shown:
            newest[one.kind.name] = one
    return [replace(one, is_default=newest.get(one.kind.name) is one) for one in results]
