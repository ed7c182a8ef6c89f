"""Choosing pictures by an SQL condition over their rows, without a published database."""

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from schemas.errors import UsageError
from warehouse.database.sqltext import Sql, identifier, render
from warehouse.files.layout import ScanDir
from warehouse.store.columns import kind_of, plain
from warehouse.store.reading import read_images

COLUMNS = ("image_id", "key", "uri", "width", "height", "label", "metadata", "sigma", "norm")

_LOAD = "CREATE TABLE loaded AS SELECT * FROM listed"
_STRUCTURE = "SELECT json_group_structure(metadata::JSON)::VARCHAR FROM loaded"
_TYPED = """
CREATE TABLE images AS
SELECT * EXCLUDE (parsed), unnest(parsed)
FROM (SELECT *, from_json(metadata::JSON, getvariable('structure')) AS parsed FROM loaded)
"""


def select_images(scan: ScanDir, shards: Sequence[str], where: str) -> Int64[np.ndarray, " image"]:
    """Return the image_ids for which the condition holds, ascending.

    The condition sees the columns of `images` (not the embedding) and every metadata column under
    its own name. It runs in a database of its own, without access to files.

    Raises:
        UsageError: the condition is no SQL, or names a column that is not there.
    """
    return matching(read_images(scan, shards, COLUMNS), where)


def matching(listed: pa.Table, where: str) -> Int64[np.ndarray, " image"]:
    """Return the image_ids of the rows, of `COLUMNS`, for which the condition holds, ascending.

    Raises:
        UsageError: the condition is no SQL, or names a column that is not there.
    """
    with duckdb.connect(":memory:") as con:
        con.register("listed", listed)
        con.execute(_LOAD)
        con.unregister("listed")
        _type_metadata(con)
        con.execute("SET enable_external_access = false")
        try:
            relation = con.sql("FROM images").filter(where).project("image_id").order("image_id")
            found: pa.Table = relation.to_arrow_table()
        except duckdb.Error as error:
            names = ", ".join(con.table("images").columns)
            reason = " ".join(str(error).split("\n\n")[0].split())[:200]
            raise UsageError(f"condition {where!r}: {reason}; columns are {names}") from None
    ids: np.ndarray = found["image_id"].to_numpy()
    return ids


def _type_metadata(con: duckdb.DuckDBPyConnection) -> None:
    """Make `images` from `loaded`, with a typed column for every name in metadata."""
    (structure,) = con.execute(_STRUCTURE).fetchall()[0]
    if structure in (None, "{}", '"JSON"', '"NULL"'):
        con.execute("ALTER TABLE loaded RENAME TO images")
        return
    con.execute("SET VARIABLE structure = ?", [structure])
    con.execute(_TYPED)
    for name, kind, *_ in con.execute("DESCRIBE images").fetchall():
        if kind == "VARCHAR" and name not in COLUMNS:
            _type_column(con, name)


def _type_column(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Give a column of texts the type of its values, as they are read everywhere."""
    different = con.table("images").project(identifier(name)).distinct().fetchall()
    values = [plain(text) for (text,) in different if text is not None]
    kind = kind_of(v for v in values if v is not None)
    if kind != "VARCHAR":
        con.execute(
            render(
                "ALTER TABLE images ALTER :name TYPE :kind USING TRY_CAST(:name AS :kind)",
                name=identifier(name),
                kind=Sql(kind),
            )
        )
