"""`image_metadata`: the JSON object that each picture carries, as typed columns.

Types come from the values of all pictures of all scans: BIGINT, DOUBLE, BOOLEAN or VARCHAR. Texts
are read as `warehouse/store/columns.py` has it: a column of CSV whose cells are all numbers, or
blank, is one of numbers, as if it came from Parquet. Whatever is nested, or of several types, is
text. An integer of more than 63 bits is NULL here; the `metadata` column of `images` has it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import duckdb

from schemas.files import IMAGES
from schemas.tables import TABLES
from warehouse.database.carried import Carried
from warehouse.database.inventory import Source
from warehouse.database.notes import Note, read_note
from warehouse.database.sqltext import Sql, identifier, load, render
from warehouse.files.layout import Warehouse

_TYPES: Final = {
    "BIGINT": "BIGINT",
    "UBIGINT": "BIGINT",
    "HUGEINT": "BIGINT",
    "DOUBLE": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "NULL": "NULL",
}
_NUMBERS: Final = {"BIGINT", "DOUBLE"}
# Spellings that are a value of the type as they stand; whatever else is one goes the long way.
_PLAIN: Final = {
    "BIGINT": "0|-?[1-9][0-9]{0,17}",
    "DOUBLE": r"(0|-?[1-9][0-9]{0,17})(\.[0-9]+)?",
    "BOOLEAN": "true|false",
}
# texts looked at before all are
_FIRST: Final = 1000
# what is noted of shards
KINDS: Final = "kinds"


def load_metadata(
    con: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    sources: Sequence[Source],
    before: Carried,
) -> Note:
    """Add a column per metadata name to `image_metadata`, and fill it.

    Rows are taken over from the version before only where it has the same columns.

    Returns:
        What is to be noted as `KINDS` once the version is in place.
    """
    types: dict[str, str] = {}
    noted = _kinds(con, warehouse, sources)
    for kinds in noted.values():
        for name, kind in kinds.items():
            types[name] = _common(types.get(name, "NULL"), kind)
    every = [path for source in sources for path in source.files(IMAGES, source.shards)]
    types = {
        name: _of_texts(con, name, every) if kind == "VARCHAR" else kind
        for name, kind in types.items()
    }
    names = column_names(list(types))
    for name, kind in types.items():
        column, made = identifier(names[name]), Sql("VARCHAR" if kind == "NULL" else kind)
        con.execute(
            render("ALTER TABLE image_metadata ADD COLUMN :name :type", name=column, type=made)
        )
        con.execute(
            render(
                "COMMENT ON COLUMN image_metadata.:name IS :text",
                name=column,
                text=f"{name!r} of the listing.",
            )
        )
    if _columns(con, "building") != _columns(con, "before"):
        before = Carried()
    pointers = [_pointer(name) for name in types]
    for source in sources:
        scan, (kept, others) = source.scan.name, before.of(source)
        if kept:
            con.execute(load("metadata/load_before"), {"scan": scan, "shards": kept})
        if others:
            sql = load("metadata/load", scan=scan, pointers=pointers, columns=_values(types))
            con.execute(sql, {"paths": source.files(IMAGES, others)})
    return noted


def _columns(con: duckdb.DuckDBPyConnection, database: str) -> list[tuple[str, ...]]:
    """Return names, types and comments of the columns that metadata has made."""
    (table,) = (t for t in TABLES if t.name == "image_metadata")
    rows = con.execute(load("metadata/columns"), {"database": database}).fetchall()
    return rows[len(table.columns) :]


def _kinds(
    con: duckdb.DuckDBPyConnection, warehouse: Warehouse, sources: Sequence[Source]
) -> dict[str, dict[str, str]]:
    """Return the kind of each name's values, by shard: a shard never changes, so it is noted."""
    before = read_note(warehouse, KINDS)
    found: dict[str, dict[str, str]] = {}
    unknown: dict[str, str] = {}
    for source in sources:
        for live in source.snapshot.shards:
            if live.rows:
                name = f"{source.scan.name}/{live.shard}/{live.manifest_sha256}"
                found[name] = before.get(name, {})
                if name not in before:
                    (path,) = source.files(IMAGES, [live.shard])
                    unknown[path] = name
    if unknown:
        rows = con.execute(load("metadata/structure"), {"paths": list(unknown)}).fetchall()
        for path, structure in rows:
            found[unknown[path]] = _kinds_of(structure)
    return found


def _kinds_of(structure: str | None) -> dict[str, str]:
    """Return the kinds in a structure as DuckDB tells it; what is nested is text."""
    read = json.loads(structure) if structure else {}
    return {
        name: _TYPES.get(kind, "VARCHAR") if isinstance(kind, str) else "VARCHAR"
        for name, kind in (read.items() if isinstance(read, dict) else ())
    }


def _of_texts(con: duckdb.DuckDBPyConnection, name: str, paths: Sequence[str]) -> str:
    """Return the type of a column of texts by its values: the first of them, then all."""
    plain = f"{_PLAIN['BIGINT']}|{_PLAIN['BOOLEAN']}"
    sql = load("metadata/texts", value=_value(1, name, plain), pointer=_pointer(name))
    for most in (_FIRST, None):
        values = {"paths": paths, "most": most}
        ((count, flags, whole, numbers),) = con.execute(sql, values).fetchall()
        if count and not (flags or numbers):
            return "VARCHAR"
    return "BOOLEAN" if flags else "BIGINT" if whole else "DOUBLE" if numbers else "VARCHAR"


def _common(one: str, other: str) -> str:
    """Return the type that holds values of both."""
    if one == other or other == "NULL":
        return one
    if one == "NULL":
        return other
    return "DOUBLE" if {one, other} == _NUMBERS else "VARCHAR"


def _values(types: Mapping[str, str]) -> Sql:
    """Return `, value, value ...`: each name's value under its type."""
    parts = []
    for at, (name, kind) in enumerate(types.items(), 1):
        if kind in _PLAIN:
            value = _value(at, name, _PLAIN[kind])
            parts.append(render("TRY_CAST(:value AS :type)", value=value, type=Sql(kind)))
        else:
            parts.append(render("said[:at]", at=at))
    return Sql("".join(f", {part}" for part in parts))


def _value(at: int, name: str, plain: str) -> Sql:
    """Return the SQL of a value, the `at`-th that was looked up, as `plain` spells it."""
    return load("metadata/value", at=at, column=name, plain=plain)


def _pointer(name: str) -> str:
    """Return a name's JSON pointer, since any other name may be read as a path."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def column_names(names: Sequence[str]) -> dict[str, str]:
    """Name a column for each metadata name: SQL knows no case, and scan_id and image_id are taken.

    A name that is taken, or empty, gets the first free suffix `_2`, `_3`, ...
    """
    (table,) = (t for t in TABLES if t.name == "image_metadata")
    taken = {c.name for c in table.columns}
    found = {}
    for name in names:
        base = name.replace("\0", "") or "unnamed"
        column, n = base, 1
        while column.casefold() in taken:
            n += 1
            column = f"{base}_{n}"
        taken.add(column.casefold())
        found[name] = column
    return found
