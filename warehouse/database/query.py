"""Asking the published database: read-only, the newest version at the time of connecting."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa

from schemas.errors import StoreError, UsageError
from warehouse.database.sqltext import render
from warehouse.files.atomic import fsync, temporary_beside
from warehouse.files.layout import Warehouse

Answer = TypeVar("Answer")
Parameters = Mapping[str, Any] | Sequence[Any] | None
_KIND: Final = re.compile(r"^(?:[A-Z][A-Za-z]* )+Error: ")


def connect(warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    """Open the published database read-only.

    The link is followed first: the connection keeps its version while newer ones are published.
    The views read the warehouse where it is now, even after it has moved.

    Raises:
        UsageError: nothing has been published.
        StoreError: the file is no database that this DuckDB reads.
    """
    if not warehouse.database.exists():
        raise UsageError(f"no published database in {warehouse.root}; run headatlas publish")
    try:
        con = duckdb.connect(str(warehouse.database.resolve()), read_only=True)
    except duckdb.Error as error:
        raise StoreError(
            f"{warehouse.database} cannot be opened: {one_line(error)}; run headatlas publish"
        ) from None
    root = str(warehouse.root.resolve())
    con.execute(render("SET VARIABLE headatlas_root = :root", root=root))
    return con


def query(warehouse: Warehouse, sql: str, parameters: Parameters = None) -> pa.Table:
    """Return the answer to one statement.

    Raises:
        UsageError: the SQL is wrong, or a macro was asked for what does not exist.
        StoreError: the database or a Parquet file cannot be read.
    """
    with closing(connect(warehouse)) as con:
        return _asked(lambda: _table(con.sql(sql, params=parameters)))


def _table(relation: duckdb.DuckDBPyRelation | None) -> pa.Table:
    """Return all rows; a statement without any, as SET, has an empty table."""
    return pa.table({}) if relation is None else relation.to_arrow_table()


def export(warehouse: Warehouse, sql: str, path: Path, parameters: Parameters = None) -> None:
    """Write the answer to a file, by its suffix: .parquet, .csv or .arrow (an Arrow IPC file).

    The file is whole or absent. Rows are streamed: a large answer needs little memory.

    Raises:
        UsageError: as `query`, or the suffix is another one, or the folder does not exist.
        StoreError: as `query`.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise UsageError(
            f"cannot write to {path.name!r}; expected a name that ends in {', '.join(_WRITERS)}"
        )
    if not path.parent.is_dir():
        raise UsageError(f"cannot write to {path}: there is no folder {path.parent}")
    aside = temporary_beside(path)
    with closing(connect(warehouse)) as con:
        try:
            _asked(lambda: write(_relation(con, sql, parameters), aside))
            fsync(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _relation(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Parameters
) -> duckdb.DuckDBPyRelation:
    relation: duckdb.DuckDBPyRelation | None = con.sql(sql, params=parameters)
    if relation is None:
        raise UsageError(f"{sql!r} has no rows to write; expected a SELECT")
    return relation


def _write_arrow(relation: duckdb.DuckDBPyRelation, path: Path) -> None:
    reader = relation.to_arrow_reader()
    with pa.ipc.new_file(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


_WRITERS: Final[dict[str, Callable[[duckdb.DuckDBPyRelation, Path], None]]] = {
    ".parquet": lambda relation, path: relation.write_parquet(str(path), compression="zstd"),
    ".csv": lambda relation, path: relation.write_csv(str(path), header=True),
    ".arrow": _write_arrow,
}


def _asked(ask: Callable[[], Answer]) -> Answer:
    """Run a query, saying its errors in one line each."""
    try:
        return ask()
    except duckdb.IOException as error:
        raise StoreError(
            f"{one_line(error)}; if files are missing, run headatlas verify, then headatlas publish"
        ) from None
    except duckdb.Error as error:
        raise UsageError(one_line(error)) from None


def one_line(error: duckdb.Error) -> str:
    """Return what DuckDB says, without the kind of error, the excerpt and the stack trace.

    `Binder Error: no such column x` + excerpt becomes `no such column x`, with any hint that
    follows the first line before the excerpt.
    """
    text = str(error).split("\nLINE ")[0].split("Stack Trace")[0]
    return " ".join(_KIND.sub("", text).split()) or type(error).__name__
