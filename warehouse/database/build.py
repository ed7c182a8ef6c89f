"""Building one version of the database: its tables, views and macros, from what was found."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import duckdb

from schemas.files import IMAGES
from schemas.macros import MACROS
from schemas.relations import Column, Table
from schemas.runs import RunRecord
from schemas.tables import LAYER_VIEW, ROLE_VIEW, TABLES
from schemas.written import POOL
from warehouse.database.by_hand import set_by_hand
from warehouse.database.carried import ROWS, Carried, noted_rows, version_before
from warehouse.database.covariances import load_covariances
from warehouse.database.inventory import Result, Source, utc
from warehouse.database.loading import load_sql
from warehouse.database.macros import definition, in_order
from warehouse.database.materialise import Head, chosen_heads, fill, missing
from warehouse.database.metadata import KINDS, load_metadata
from warehouse.database.notes import Note
from warehouse.database.role_views import create_roles, view_name
from warehouse.database.sqltext import Sql, Value, identifier, load, render
from warehouse.database.versions import Version
from warehouse.files.layout import Warehouse
from warehouse.results.files import check_seal, read_provenance
from warehouse.store.pools import embedded, pools
from warehouse.store.runs import read_runs
from warehouse.store.zero_shot import zero_shot_of

# macros that views and loading call, and that ask no table
FIRST = (
    "contribution_file",
    "image_file",
    "frame_file",
    "plain_number",
    "written_out",
    "plain_value",
    "metadata_value",
)


def build(
    warehouse: Warehouse,
    version: Version,
    sources: Sequence[Source],
    results: Sequence[Result],
    materialise: Sequence[str],
    *,
    carried: bool,
    running: RunRecord | None,
) -> tuple[list[Head], tuple[str, ...], dict[str, Note]]:
    """Write the whole database to `version.building`.

    Returns:
        The heads materialised; what of `materialise` is not there any more, where it is
        `carried` over from an older version; and what is to be noted once the version is in place.

    Raises:
        UnknownName: no such head or role to materialise, and it is asked for now.
    """
    path, default = str(version.building), sources[-1].scan.name if sources else None
    with duckdb.connect() as con, version_before(con, warehouse) as before:
        con.execute(render("ATTACH :path AS building (STORAGE_VERSION 'v1.4.0')", path=path))
        con.execute("USE building")
        # one transaction, not one a statement: each would wait for the disk
        con.begin()
        literals: dict[str, Value] = {"root": str(warehouse.root), "default_scan": default}
        for macro in (m for m in in_order() if m.name in FIRST):
            con.execute(definition(macro, **literals))
        # views last: they read tables
        for table in sorted(TABLES, key=lambda t: t.kind == "view"):
            con.execute(_table(table) if table.kind == "table" else _view(table, sources))
        layers = _create_layers(con, sources)
        _load_scans(con, sources, default, before)
        kinds = load_metadata(con, warehouse, sources, before)
        _load_results(con, results)
        set_by_hand(con, warehouse, sources)
        _load_pools(con, warehouse)
        _load_description_vectors(con, warehouse, sources)
        _load_runs(con, warehouse, running)
        con.execute(
            load("load/published"),
            {
                "version": version.number,
                "published_at": datetime.now(UTC).replace(tzinfo=None),
                "warehouse": str(warehouse.root),
                "default_scan": default,
            },
        )
        gone = missing(con, materialise) if carried else ()
        heads = chosen_heads(con, [word for word in materialise if word not in gone])
        roles = create_roles(con, layers, _no_rows(ROLE_VIEW.columns))
        literals |= {
            "layers": layers,
            "scan_names": [source.scan.name for source in sources],
            "roles": [f"{scan}/{role}" for scan, role in roles],
            "materialised": [head.label for head in heads],
        }
        for macro in (m for m in in_order() if m.name not in FIRST):
            con.execute(definition(macro, **literals))
        _create_default_scan(con, default)
        _comment(con, layers, roles)
        con.commit()
        fill(con, heads)
        con.execute("CHECKPOINT building")
        con.execute("USE memory")
        con.execute("DETACH building")
    return heads, gone, {KINDS: kinds, ROWS: noted_rows(version, sources)}


def _table(table: Table) -> Sql:
    """Return the DDL of a table."""
    columns = ", ".join(f"{identifier(c.name)} {c.type}" for c in table.columns)
    return render(
        "CREATE TABLE :name (:columns)", name=identifier(table.name), columns=Sql(columns)
    )


def _view(table: Table, sources: Sequence[Source]) -> Sql:
    """Return the DDL of a view over all scans; of no scan, it has its columns and no rows."""
    parts = [_no_rows(table.columns)]
    parts += [
        load(
            f"views/{table.name}",
            scan=source.scan.name,
            shards=source.shards,
            layers=[str(layer) for layer in source.record.layers],
            frames=source.frames.name,
        )
        for source in sources
        if source.shards and (table.name != "head_frames" or source.frames.is_file())
    ]
    return render(
        "CREATE VIEW :name AS :parts",
        name=identifier(table.name),
        parts=Sql("\nUNION ALL BY NAME\n".join(parts)),
    )


def _create_default_scan(con: duckdb.DuckDBPyConnection, default: str | None) -> None:
    """Create schema default_scan: each table that has scans, as a view of the default one alone."""
    con.execute("CREATE SCHEMA default_scan")
    said: list[Sql] = []
    for table in TABLES:
        if any(c.name == "scan_id" for c in table.columns):
            view = Sql(f"default_scan.{identifier(table.name)}")
            con.execute(
                load("default_scan/view", view=view, table=identifier(table.name), scan=default)
            )
            comment = f"{table.comment} Of the default scan alone."
            said += _described(view, replace(table, kind="view", comment=comment))
    con.execute(";\n".join(said))


def _no_rows(columns: Sequence[Column]) -> Sql:
    nulls = ", ".join(f"NULL::{c.type} AS {identifier(c.name)}" for c in columns)
    return render("SELECT :nulls WHERE false", nulls=Sql(nulls))


def _create_layers(con: duckdb.DuckDBPyConnection, sources: Sequence[Source]) -> list[str]:
    """Create a view per stored layer, and one of none; return the layers, as `SCAN/L22`.

    A query by head goes to its layer's view: to list the files of all layers takes 50 ms for a
    million pictures, before any is opened.
    """
    con.execute("CREATE SCHEMA by_layer")
    none = _no_rows(LAYER_VIEW.columns)
    con.execute(render("CREATE VIEW by_layer.none AS :none", none=none))
    names = []
    for source in sources:
        for layer in source.record.layers if source.shards else ():
            names.append(f"{source.scan.name}/L{layer}")
            sql = load("views/by_layer", scan=source.scan.name, shards=source.shards, layer=layer)
            con.execute(
                render("CREATE VIEW by_layer.:name AS :sql", name=identifier(names[-1]), sql=sql)
            )
    return names


def _load_scans(
    con: duckdb.DuckDBPyConnection,
    sources: Sequence[Source],
    default: str | None,
    before: Carried,
) -> None:
    for source in sources:
        name, snapshot = source.scan.name, source.snapshot
        con.execute(
            load("load/scans"),
            {
                "record": source.record.model_copy(
                    update={"zero_shot": zero_shot_of(source.scan, source.record, snapshot)}
                ).model_dump_json(),
                "images": snapshot.images,
                "rejects": snapshot.rejects,
                "created_at": utc(source.record.created_at),
                "snapshot": snapshot.number,
                "snapshot_at": utc(snapshot.created_at),
                "is_default": name == default,
            },
        )
        kept, others = before.of(source)
        if kept:
            con.execute(load("load/image_index_before"), {"scan": name, "shards": kept})
        if others:
            paths = source.files(IMAGES, others)
            con.execute(load("load/image_index"), {"scan": name, "paths": paths})
        if source.shards and source.moments is not None:
            load_covariances(con, name, source.moments)
        every = [live.shard for live in snapshot.shards]
        if every:
            paths = source.files("rejects.parquet", every)
            con.execute(load("load/rejects"), {"scan": name, "paths": paths})


def _load_results(con: duckdb.DuckDBPyConnection, results: Sequence[Result]) -> None:
    for result in results:
        _execute(con, load("load/results"), result.parameters)
        for table in result.kind.tables:
            if table.kind == "table" and result.shown:
                _execute(con, load_sql(result.kind, table), result.parameters)


def _load_pools(con: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    for name in pools(warehouse):
        path = warehouse.pools / name / POOL
        check_seal(path)
        values = {
            "pool": name,
            "path": str(path),
            "provenance": json.dumps(read_provenance(path)),
        }
        for file in ("pools", "descriptions"):
            _execute(con, load(f"load/{file}"), values)


def _load_description_vectors(
    con: duckdb.DuckDBPyConnection, warehouse: Warehouse, sources: Sequence[Source]
) -> None:
    """Load each pool's texts as each scan's model embeds them, where they have been embedded."""
    for source in sources:
        model = source.record.model.weights_sha256, source.record.precision
        for pool in pools(warehouse):
            found = embedded(warehouse, pool, *model)
            if found is not None:
                path, by = found
                check_seal(path)
                con.execute(
                    load("load/description_vectors"),
                    {
                        "scan": source.scan.name,
                        "pool": pool,
                        "path": str(path),
                        "templates": list(by.templates),
                    },
                )


def _load_runs(
    con: duckdb.DuckDBPyConnection, warehouse: Warehouse, running: RunRecord | None
) -> None:
    """Load the records of runs; in the place of the running one's, as it shall be shown."""
    found = read_runs(warehouse)
    if running is not None:
        same = (running.run, running.started_at)
        found = [running, *(r for r in found if (r.run, r.started_at) != same)]
    text = json.dumps([record.model_dump(mode="json") for record in found])
    con.execute(load("load/runs"), {"records": text})


def _execute(con: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any]) -> None:
    """Run a statement with those of the values that it names: DuckDB refuses any others."""
    named = {p for s in con.extract_statements(sql) for p in s.named_parameters}
    con.execute(sql, {k: v for k, v in values.items() if k in named})


def _comment(
    con: duckdb.DuckDBPyConnection, layers: Sequence[str], roles: Sequence[tuple[str, str]]
) -> None:
    """Say on every table, view, column and macro what it is."""
    said = [one for table in TABLES for one in _described(identifier(table.name), table)]
    for name in ("none", *layers):
        said += _described(Sql(f"by_layer.{identifier(name)}"), LAYER_VIEW)
    said += _described(Sql("by_role.none"), ROLE_VIEW)
    for number, (scan, role) in enumerate(roles, 1):
        named = replace(ROLE_VIEW, comment=f"All heads of scan {scan!r} that carry role {role!r}.")
        said += _described(Sql(f"by_role.{identifier(view_name(number))}"), named)
    for macro in MACROS:
        kind = "MACRO TABLE" if macro.kind == "table" else "MACRO"
        said.append(_said(kind, identifier(macro.name), macro.comment))
    # all at once: each statement by itself costs as much again
    con.execute(";\n".join(said))


def _described(name: Sql, table: Table) -> list[Sql]:
    """Return the comments on a table or view and on its columns."""
    columns = (("COLUMN", Sql(f"{name}.{identifier(c.name)}"), c.comment) for c in table.columns)
    return [_said(*one) for one in ((table.kind.upper(), name, table.comment), *columns)]


def _said(kind: str, name: Sql, comment: str) -> Sql:
    return render("COMMENT ON :kind :name IS :comment", kind=Sql(kind), name=name, comment=comment)
