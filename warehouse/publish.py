"""`headatlas publish`: build the database from the files, as a new version, and link to it.

Results are copied into native tables. `contributions` and `images` are views over exactly the
Parquet files of each scan's newest snapshot, by explicit lists: a shard that is written later is
not seen, and one that is no longer live is kept by `gc` for as long as the version exists.

DuckDB resolves a relative path against the reader's folder, so views carry absolute paths: a
warehouse that has moved is published again. Where it cannot be (a read-only mount elsewhere),
`SET VARIABLE headatlas_root = 'FOLDER'` redirects the views of a connection.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from schemas.errors import StoreError
from schemas.manifest import ScanRecord, Snapshot
from schemas.tables import MACROS, TABLES, Table
from warehouse import snapshots, versions
from warehouse.layout import ScanDir, Warehouse
from warehouse.materialise import Head, chosen_heads, fill
from warehouse.metadata import load_metadata
from warehouse.pools import pools
from warehouse.results import list_results, read_provenance
from warehouse.sqltext import Sql, Value, identifier, literal, load, render

# kinds of result that have a table of the same name, each filled from one file or more
RESULTS = ("heads", "textspan")


@dataclass(frozen=True)
class Published:
    """A published version.

    Attributes:
        path: the database; `atlas.duckdb` links to it.
        version: its number.
        scans: the snapshot that it shows of each scan.
        stale: results made from an older snapshot, as `SCAN/KIND/NAME`.
        materialised: heads stored as native unit vectors, as `SCAN/L22H11`.
        seconds: time taken.
    """

    path: Path
    version: int
    scans: dict[str, int]
    stale: tuple[str, ...]
    materialised: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class _Source:
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
        return [str(self.scan.shard(s).resolve() / name) for s in shards]


@dataclass(frozen=True)
class _Result:
    """A result's file, and what its table says of it."""

    scan: str
    kind: str
    name: str
    path: Path
    provenance: dict[str, Any]
    stale: bool
    is_default: bool

    @property
    def parameters(self) -> dict[str, Any]:
        """Values for `load/KIND.sql` and `load/results.sql`."""
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


def publish(
    warehouse: Warehouse,
    *,
    scans: Sequence[str] | None = None,
    materialise: Sequence[str] = (),
    keep: int = 3,
) -> Published:
    """Build the next version of the database and link to it.

    Scans that have committed nothing yet are left out. Readers of older versions are not disturbed;
    of these the newest `keep`, this one included, are kept. Concurrent calls wait for each other.

    Args:
        warehouse: what to publish.
        scans: names of the scans to show; all, when None.
        materialise: heads whose centred unit vectors are also stored: `L22H11`, `role:NAME`, `all`.
        keep: versions to keep.

    Raises:
        UnknownName: no such scan, or no such head or role to materialise.
        CorruptStore: a file that is named cannot be read.
        StoreError: the database could not be built.
    """
    started = time.perf_counter()
    with versions.publishing(warehouse):
        sources = _sources(warehouse, scans)
        shown = {s.scan.name: s.snapshot.number for s in sources}
        version = versions.reserve(warehouse, shown)
        try:
            results = [r for s in sources for r in _results(s)]
            materialised = _build(warehouse, version, sources, results, materialise)
        except duckdb.Error as error:
            text = " ".join(str(error).split())
            raise StoreError(
                f"{warehouse.root} could not be published: {text}; run headatlas verify"
            ) from error
        versions.install(warehouse, version)
        versions.prune(warehouse, keep)
    return Published(
        path=version.database,
        version=version.number,
        scans=shown,
        stale=tuple(f"{r.scan}/{r.kind}/{r.name}" for r in results if r.stale),
        materialised=tuple(materialised),
        seconds=time.perf_counter() - started,
    )


def _sources(warehouse: Warehouse, scans: Sequence[str] | None) -> list[_Source]:
    """Return the scans to publish, oldest first: the last is the default."""
    found = []
    for name in warehouse.scans() if scans is None else dict.fromkeys(scans):
        scan = warehouse.scan(name)
        snapshot = snapshots.latest(scan)
        if snapshot is not None:
            found.append(_Source(scan, scan.load_record(), snapshot))
    return sorted(found, key=lambda s: (utc(s.record.created_at), s.scan.name))


def utc(text: str) -> datetime:
    """Read an ISO 8601 time as UTC, without a zone: as DuckDB's TIMESTAMP."""
    when = datetime.fromisoformat(text)
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when


def _results(source: _Source) -> list[_Result]:
    """Return the result files of a scan; the newest of each kind is its default."""
    found = []
    for kind in RESULTS:
        made = [(read_provenance(p), p) for p in list_results(source.scan, kind)]
        made.sort(key=lambda pair: (str(pair[0].get("created_at", "")), pair[1].name))
        found += [
            _Result(
                scan=source.scan.name,
                kind=kind,
                name=path.stem,
                path=path,
                provenance=provenance,
                stale=provenance.get("snapshot") != source.snapshot.number,
                is_default=path == made[-1][1],
            )
            for provenance, path in made
        ]
    return found


def _build(
    warehouse: Warehouse,
    version: versions.Version,
    sources: Sequence[_Source],
    results: Sequence[_Result],
    materialise: Sequence[str],
) -> list[str]:
    """Write the whole database to `version.building`; return the heads materialised."""
    with duckdb.connect() as con:
        con.execute(
            render("ATTACH :path AS building (STORAGE_VERSION 'v1.5.0')", path=str(version.building))
        )
        con.execute("USE building")
        for table in TABLES:
            con.execute(_create(table, warehouse, sources))
        default = sources[-1].scan.name if sources else None
        _load_scans(con, sources, default)
        _load_results(con, results)
        _load_pools(con, warehouse)
        con.execute(
            load("load/published"),
            {
                "version": version.number,
                "published_at": datetime.now(UTC).replace(tzinfo=None),
                "warehouse": str(warehouse.root.resolve()),
                "default_scan": default,
            },
        )
        heads = chosen_heads(con, materialise)
        fill(con, heads)
        _create_macros(con, default, heads)
        _comment(con)
        con.execute("CHECKPOINT building")
        con.execute("USE memory")
        con.execute("DETACH building")
    return [h.label for h in heads]


def _create(table: Table, warehouse: Warehouse, sources: Sequence[_Source]) -> Sql:
    """Return the DDL of a table or view; a view of no scan has its columns and no rows."""
    if table.kind == "table":
        columns = [Sql(f"{identifier(c.name)} {c.type}") for c in table.columns]
        return render(
            "CREATE TABLE :name (:columns)",
            name=identifier(table.name),
            columns=Sql(", ".join(columns)),
        )
    empty = [Sql(f"NULL::{c.type} AS {identifier(c.name)}") for c in table.columns]
    parts = [render("SELECT :columns WHERE false", columns=Sql(", ".join(empty)))]
    parts += [
        load(
            f"views/{table.name}",
            scan=source.scan.name,
            root=str(warehouse.root.resolve()),
            shards=source.shards,
            layers=[str(layer) for layer in source.record.layers],
        )
        for source in sources
        if source.shards
    ]
    return render(
        "CREATE VIEW :name AS :parts",
        name=identifier(table.name),
        parts=Sql("\nUNION ALL BY NAME\n".join(parts)),
    )


def _load_scans(
    con: duckdb.DuckDBPyConnection, sources: Sequence[_Source], default: str | None
) -> None:
    for source in sources:
        name, snapshot = source.scan.name, source.snapshot
        con.execute(
            load("load/scans"),
            {
                "record": source.record.model_dump_json(),
                "images": snapshot.images,
                "rejects": snapshot.rejects,
                "created_at": utc(source.record.created_at),
                "snapshot": snapshot.number,
                "snapshot_at": utc(snapshot.created_at),
                "is_default": name == default,
            },
        )
        every = [live.shard for live in snapshot.shards]
        for table, file, shards in (
            ("image_index", "images.parquet", source.shards),
            ("rejects", "rejects.parquet", every),
        ):
            if shards:
                paths = source.files(file, shards)
                con.execute(load(f"load/{table}"), {"scan": name, "paths": paths})
    load_metadata(con, [source.scan.name for source in sources])


def _load_results(con: duckdb.DuckDBPyConnection, results: Sequence[_Result]) -> None:
    for result in results:
        for file in ("results", result.kind):
            _execute(con, load(f"load/{file}"), result.parameters)


def _load_pools(con: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    for name in pools(warehouse):
        path = warehouse.pools / name / "pool.parquet"
        values = {
            "pool": name,
            "path": str(path),
            "provenance": json.dumps(read_provenance(path)),
        }
        for file in ("pools", "descriptions"):
            _execute(con, load(f"load/{file}"), values)


def _execute(con: duckdb.DuckDBPyConnection, sql: str, values: dict[str, Any]) -> None:
    """Run a statement with those of the values that it names: DuckDB refuses any others."""
    named = {p for s in con.extract_statements(sql) for p in s.named_parameters}
    con.execute(sql, {k: v for k, v in values.items() if k in named})


def _create_macros(
    con: duckdb.DuckDBPyConnection, default: str | None, heads: Sequence[Head]
) -> None:
    values: dict[str, Value] = {
        "default_scan": default,
        "materialised": [h.label for h in heads],
    }
    for macro in MACROS:
        con.execute(load(f"macros/{macro.name}", **values))


def _comment(con: duckdb.DuckDBPyConnection) -> None:
    """Say on every table, view, column and macro what it is."""
    for table in TABLES:
        name = identifier(table.name)
        _say(con, "TABLE" if table.kind == "table" else "VIEW", name, table.comment)
        for column in table.columns:
            _say(con, "COLUMN", Sql(f"{name}.{identifier(column.name)}"), column.comment)
    for macro in MACROS:
        kind = "MACRO TABLE" if macro.kind == "table" else "MACRO"
        _say(con, kind, identifier(macro.name), macro.comment)


def _say(con: duckdb.DuckDBPyConnection, kind: str, name: Sql, comment: str) -> None:
    con.execute(
        render("COMMENT ON :kind :name IS :comment", kind=Sql(kind), name=name, comment=comment)
    )
