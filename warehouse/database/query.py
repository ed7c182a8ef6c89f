"""Asking the published database: read-only, the newest version at the time of connecting."""

import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb

from schemas.errors import StoreError, UsageError
from schemas.written import SCANS
from warehouse.database.sqltext import literal, render
from warehouse.database.statements import require_reading, split
from warehouse.files.layout import Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

Parameters = Mapping[str, Any] | Sequence[Any] | None
_KIND: Final = re.compile(r"^(?:[A-Z][A-Za-z]* )+Error: ")


@dataclass(frozen=True)
class Limits:
    """What an answer may cost; None is no limit.

    Attributes:
        seconds: until the question is interrupted.
        rows: to return; whether there are more is said.
    """

    seconds: float | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Found:
    """An answer, and whether it was cut at the limit of rows."""

    table: "pa.Table"
    cut: bool


def connect(warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    """Open the published database read-only.

    The link is followed first: the connection keeps its version while newer ones are published.
    The views read the warehouse where it is now, even after it has moved.

    Raises:
        UsageError: nothing has been published.
        StoreError: the file is no database that this DuckDB reads.
    """
    con = _opened(warehouse, lambda path: duckdb.connect(path, read_only=True))
    root = str(warehouse.root.resolve())
    con.execute(render("SET VARIABLE headatlas_root = :root", root=root))
    return con


def connect_restricted(warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    """Open the published database for questions by anybody.

    Nothing outside the warehouse (and the places that its scans link to) can be read, no setting
    changed; `ask` lets through statements that read. The database is attached to one in memory,
    since settings belong to all connections that a process has to a database.

    Raises:
        UsageError, StoreError: as `connect`.
    """

    def attached(path: str) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect()
        con.execute(render("ATTACH :path AS atlas (READ_ONLY)", path=path))
        return con

    con = _opened(warehouse, attached)
    root = warehouse.root.resolve()
    linked = {str(scan.resolve()) for scan in (root / SCANS).glob("*") if scan.is_symlink()}
    spill = str(Path(tempfile.gettempdir()) / "headatlas-spill")
    for setting in (
        render("SET temp_directory = :spill", spill=spill),
        render("SET allowed_directories = :list", list=literal([str(root), *sorted(linked)])),
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        con.execute(setting)
    return _at_home(con, warehouse)


def cursor(con: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    """Return a cursor of a connection of `connect_restricted`, for one of many who ask at once.

    What a cursor sets with SET VARIABLE no other one sees.
    """
    return _at_home(con.cursor(), warehouse)


def _at_home(con: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    """Make the database the one that names are looked up in, and the views read this folder."""
    con.execute("USE atlas")
    root = str(warehouse.root.resolve())
    con.execute(render("SET VARIABLE headatlas_root = :root", root=root))
    return con


def _opened(
    warehouse: Warehouse, opened: Callable[[str], duckdb.DuckDBPyConnection]
) -> duckdb.DuckDBPyConnection:
    if not warehouse.database.exists():
        raise UsageError(f"no published database in {warehouse.root}; run headatlas publish")
    try:
        return opened(str(warehouse.database.resolve()))
    except duckdb.Error as error:
        raise StoreError(
            f"{warehouse.database} cannot be opened: {one_line(error)}; run headatlas publish"
        ) from None


def ask(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Parameters = None,
    *,
    limits: Limits | None = None,
) -> Found:
    """Return the answer to the last of some statements that read; those before are run first.

    Args:
        con: of `connect_restricted`; of `connect`, where files outside may be read.
        sql: one or more statements, `;` between them.
        parameters: by name, for all statements that name them; by order, for a single one.
        limits: of time and rows.

    Raises:
        UsageError: as `query`; a statement that may not be run; or it takes too long.
        StoreError: as `query`.
    """
    import pyarrow as pa

    limits = limits or Limits()
    with answering(con, sql, parameters, seconds=limits.seconds) as reader:
        batches, rows = [], 0
        for batch in reader:
            batches.append(batch)
            rows += batch.num_rows
            if limits.rows is not None and rows > limits.rows:
                break
        table = pa.Table.from_batches(batches, reader.schema)
    return Found(table.slice(0, limits.rows), limits.rows is not None and rows > limits.rows)


@contextmanager
def answering(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Parameters = None,
    *,
    seconds: float | None = None,
    unrestricted: bool = False,
) -> Iterator["pa.RecordBatchReader"]:
    """Give the answer as `ask` does, batch by batch, so that a large one needs little memory.

    Raises:
        UsageError, StoreError: as `ask`, also while it is read. `unrestricted` lets any statement
            through.
    """
    import pyarrow as pa

    with _interrupted_after(con, seconds), _errors_said(seconds):
        statements = split(con, sql)
        if not unrestricted:
            require_reading(con, statements)
        *before, last = statements
        for statement in before:
            con.execute(statement.query, _named(statement, parameters)).fetchall()
        _require_known(statements, parameters)
        relation: duckdb.DuckDBPyRelation | None = con.sql(
            last.query, params=_named(last, parameters)
        )
        nothing = pa.RecordBatchReader.from_batches(pa.schema([]), [])
        try:
            yield nothing if relation is None else relation.to_arrow_reader()
        except pa.ArrowException as error:
            raise UsageError(one_line(error)) from None


class Rows(NamedTuple):
    """An answer as Python's values.

    Attributes:
        columns: names, in order.
        numbers: those of them whose type is a number's.
        rows: of values, in the order of the columns.
    """

    columns: tuple[str, ...]
    numbers: frozenset[str]
    rows: list[tuple[Any, ...]]


def rows(con: duckdb.DuckDBPyConnection, sql: str, *, seconds: float) -> Rows:
    """Return the answer to one statement of our own, as Python's values.

    Without Arrow: its import takes longer than most answers. A statement that anybody else wrote
    is for `ask`.

    Raises:
        UsageError, StoreError: as `query`; or it takes longer than `seconds`.
    """
    with _interrupted_after(con, seconds), _errors_said(seconds):
        found = con.execute(sql)
        types = [(str(column[0]), column[1]) for column in found.description]
        number = duckdb.NUMBER  # type: ignore[attr-defined]  # of PEP 249; not in its stubs
        numbers = frozenset(name for name, kind in types if kind == number)
        return Rows(tuple(name for name, _ in types), numbers, found.fetchall())


@contextmanager
def _interrupted_after(con: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    timer = threading.Timer(seconds, con.interrupt) if seconds is not None else None
    if timer:
        timer.start()
    try:
        yield
    finally:
        if timer:
            timer.cancel()


def _named(statement: duckdb.Statement, parameters: Parameters) -> Parameters:
    """Return those of the parameters that a statement names: DuckDB refuses any others."""
    if not isinstance(parameters, Mapping):
        return parameters
    return {k: v for k, v in parameters.items() if k in statement.named_parameters} or None


def _require_known(statements: Sequence[duckdb.Statement], parameters: Parameters) -> None:
    if not isinstance(parameters, Mapping):
        return
    known = {name for statement in statements for name in statement.named_parameters}
    for name in parameters:
        if name not in known:
            listed = ", ".join(f"${k}" for k in sorted(known)) or "none"
            raise UsageError(f"the SQL names no parameter ${name}; there is {listed}")
    missing = sorted(known - set(parameters))
    if missing:
        raise UsageError(f"the SQL names ${missing[0]}, which is not given")


def query(warehouse: Warehouse, sql: str, parameters: Parameters = None) -> "pa.Table":
    """Return the answer to some statements of our own, as `ask`, without restriction.

    Raises:
        UsageError: the SQL is wrong, or a macro was asked for what does not exist.
        StoreError: the database or a Parquet file cannot be read.
    """
    with (
        closing(connect(warehouse)) as con,
        answering(con, sql, parameters, unrestricted=True) as reader,
    ):
        return reader.read_all()


@contextmanager
def _errors_said(seconds: float | None) -> Iterator[None]:
    """Say DuckDB's errors in one line each."""
    try:
        yield
    except duckdb.InterruptException:
        raise UsageError(
            f"no answer within {seconds:g} s; ask for fewer rows or heads"
            if seconds is not None
            else "interrupted"
        ) from None
    except duckdb.IOException as error:
        raise StoreError(
            f"{one_line(error)}; if files are missing, run headatlas verify, then headatlas publish"
        ) from None
    except duckdb.PermissionException as error:
        raise UsageError(
            f"{one_line(error)}: only the warehouse can be read here; headatlas sql --unrestricted "
            "reads anything"
        ) from None
    except duckdb.Error as error:
        raise UsageError(one_line(error)) from None


def one_line(error: Exception) -> str:
    """Return what DuckDB says, without the kind of error, the excerpt and the stack trace.

    `Binder Error: no such column x` + excerpt becomes `no such column x`, with any hint that
    follows the first line before the excerpt.
    """
    text = str(error).split("\nLINE ")[0].split("Stack Trace")[0]
    return " ".join(_KIND.sub("", text).split()) or type(error).__name__
