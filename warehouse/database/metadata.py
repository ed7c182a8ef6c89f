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

from schemas.tables import TABLES
from warehouse.database.sqltext import Sql, identifier, load, render

_TYPES: Final = {
    "BIGINT": "BIGINT",
    "UBIGINT": "BIGINT",
    "HUGEINT": "BIGINT",
    "DOUBLE": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "NULL": "NULL",
}
_NUMBERS: Final = {"BIGINT", "DOUBLE"}
# texts looked at before all are
_FIRST: Final = 1000


def load_metadata(con: duckdb.DuckDBPyConnection, scans: Sequence[str]) -> None:
    """Add a column per metadata name to `image_metadata`, and fill it from `images`."""
    types: dict[str, str] = {}
    for scan in scans:
        row = con.execute(load("metadata/structure"), {"scan": scan}).fetchone()
        structure = json.loads(row[0]) if row and row[0] else {}
        for name, kind in structure.items() if isinstance(structure, dict) else ():
            found = _TYPES.get(kind, "VARCHAR") if isinstance(kind, str) else "VARCHAR"
            types[name] = _common(types.get(name, "NULL"), found)
    types = {
        name: _of_texts(con, name) if kind == "VARCHAR" else kind for name, kind in types.items()
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
    for scan in scans:
        con.execute(load("metadata/load", scan=scan, columns=_values(types)))


def _of_texts(con: duckdb.DuckDBPyConnection, name: str) -> str:
    """Return the type of a column of texts by its values: the first of them, then all."""
    for most in (_FIRST, None):
        values = {"name": name, "most": most}
        ((count, flags, whole, numbers),) = con.execute(load("metadata/texts"), values).fetchall()
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
    """Return `, value, value ...`: each name's value, by JSON pointer, under its type."""
    parts = []
    for name, kind in types.items():
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        text = render("json_extract_string(i.metadata, :pointer)", pointer=pointer)
        parts.append(
            text
            if kind in ("VARCHAR", "NULL")
            else render(
                "TRY_CAST(metadata_value(i.metadata, :name) AS :type)", name=name, type=Sql(kind)
            )
        )
    return Sql("".join(f", {part}" for part in parts))


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
