"""The published database as the pages read it: newest version, one cursor a request."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb

from schemas.errors import StoreError, UsageError
from warehouse.database import query
from warehouse.database.query import Limits
from warehouse.database.sqltext import Value, render
from warehouse.files.layout import Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

SQL: Final = Path(__file__).parent / "sql"
SECONDS: Final = 30.0
KEPT_ROWS: Final = 50_000


@dataclass(frozen=True)
class Answer:
    """What one statement returned.

    Attributes:
        sql: the statement, exactly as it was run: a person can copy it into any DuckDB client.
        columns: names, in order.
        rows: one mapping a row.
        numbers: columns whose type is a number's.
        complaint: why there is no answer; None when there is one.
    """

    sql: str
    columns: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    numbers: frozenset[str] = frozenset()
    complaint: str | None = None

    @property
    def first(self) -> Mapping[str, Any] | None:
        """The first row; None without any."""
        return self.rows[0] if self.rows else None


class Kept:
    """Answers of one version, which never change: the latest asked, up to a number of rows.

    The panels of a page ask for what the page has asked, and a page's next state for most of it.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._rows = 0
        self._lock = threading.Lock()

    def get(self, sql: str) -> Answer | None:
        """Return the answer to a statement, if it is kept."""
        with self._lock:
            if sql in self._answers:
                self._answers.move_to_end(sql)
            return self._answers.get(sql)

    def add(self, answer: Answer) -> None:
        """Keep an answer; those that were not asked for longest go."""
        with self._lock:
            if answer.sql not in self._answers:
                self._answers[answer.sql] = answer
                self._rows += 1 + len(answer.rows)
            while self._rows > KEPT_ROWS:
                _, gone = self._answers.popitem(last=False)
                self._rows -= 1 + len(gone.rows)


class Cursor:
    """One request's reader: a cursor on one version of the database."""

    def __init__(self, con: duckdb.DuckDBPyConnection, version: int, kept: Kept) -> None:
        """Read through `con`, which shows `version`; `kept` holds answers of that version."""
        self._con = con
        self._kept = kept
        self.version = version

    def ask(self, name: str, **values: Value) -> Answer:
        """Run `sql/NAME.sql` with its `:placeholders` written out as literals."""
        return self.run(render(statement(name), **values))

    def console(self, statement: str, rows: int | None) -> Answer:
        """Return the first `rows` of the answer to what a person wrote; all, when None.

        Raises:
            UsageError: it is wrong, does more than read, or takes too long.
        """
        found = self.table(statement, rows)
        numbers = frozenset(column.name for column in found.schema if _is_number(column.type))
        return Answer(statement, tuple(found.column_names), tuple(found.to_pylist()), numbers)

    def table(self, statement: str, rows: int | None = None) -> "pa.Table":
        """Return an answer as Arrow, at most `rows` of it.

        Raises:
            UsageError: as `console`.
            StoreError: a file of the warehouse cannot be read.
        """
        return query.ask(self._con, statement, limits=Limits(SECONDS, rows)).table

    def run(self, sql: str) -> Answer:
        """Run a page's statement; its complaint is part of the answer, since a page shows it."""
        text = sql.strip()
        kept = self._kept.get(text)
        if kept is not None:
            return kept
        try:
            found = query.rows(self._con, text, seconds=SECONDS)
        except (UsageError, StoreError) as error:
            return Answer(text, complaint=str(error))
        rows = tuple(dict(zip(found.columns, row, strict=True)) for row in found.rows)
        answer = Answer(text, found.columns, rows, found.numbers)
        self._kept.add(answer)
        return answer


@lru_cache(maxsize=256)
def statement(name: str) -> str:
    """Return the text of `sql/NAME.sql`."""
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


class Database:
    """The newest published version, opened when it is first asked for and again when replaced.

    A request keeps the version that it began with; an older one is closed with its last cursor.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        """Serve the database of `warehouse`; nothing is opened yet."""
        self.warehouse = warehouse
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._con: duckdb.DuckDBPyConnection | None = None
        self._version = 0
        self._kept = Kept()

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """Give a cursor on the newest version.

        Raises:
            UsageError: nothing has been published.
            StoreError: the database cannot be read.
        """
        with self._lock:
            con, version, kept = self._newest(), self._version, self._kept
            cursor = query.cursor(con, self.warehouse)
        try:
            yield Cursor(cursor, version, kept)
        finally:
            cursor.close()

    def version(self) -> int:
        """Return the number of the newest version, from its file's name alone."""
        return _number(self.warehouse.database.resolve())

    def _newest(self) -> duckdb.DuckDBPyConnection:
        path = self.warehouse.database.resolve()
        if self._con is None or path != self._path:
            self._con = query.connect_restricted(self.warehouse)
            self._path, self._version, self._kept = path, _number(path), Kept()
        return self._con


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _number(path: Path) -> int:
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0
