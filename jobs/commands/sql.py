"""Ask the published database; only reading, only the warehouse, unless --unrestricted.

The SQL is given as it is, as @FILE, or by --file; of several statements, with `;` between them, the
answer is the last one's. Only SELECT, EXPLAIN, SHOW, DESCRIBE, SUMMARIZE and SET VARIABLE may be
asked. On a terminal the answer is drawn as a table, or as lines where it is too wide; elsewhere it
is CSV. In every format but table, values are exact: numbers as short as can be read back, lists as
JSON, NULL told from an empty text.
"""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from jobs import console
from schemas.config import Config
from schemas.errors import UsageError
from warehouse.database.export import export, require_writable
from warehouse.database.formats import FORMATS, write_readable, write_table
from warehouse.database.query import answering, connect, connect_restricted
from warehouse.files.layout import Warehouse

ARGUMENTS = ("statement",)


class SqlConfig(Config):
    """Options of `headatlas sql`."""

    statement: str | None = Field(default=None, description="SQL to run, or @FILE.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    file: Path | None = Field(default=None, description="File of SQL; - is standard input.")
    param: tuple[str, ...] = Field(
        default=(),
        description="NAME=VALUE of $NAME in the SQL; may be given again. A value that is JSON is "
        'taken as such (5, true, null, ["L22H11"]), any other as a text.',
    )
    format: Literal["table", "line", "csv", "tsv", "json", "markdown", "parquet"] | None = Field(
        default=None,
        description="table, line, csv, tsv, json, markdown or parquet. Default, table on a "
        "terminal (line where that is too wide), csv elsewhere.",
    )
    output: Path | None = Field(
        default=None,
        description="Write the answer to this file: .parquet, .csv, .arrow, .tsv, .json or .md.",
    )
    unrestricted: bool = Field(
        default=False, description="Let any statement run, and read files outside the warehouse."
    )


def run(config: SqlConfig) -> pa.Table | None:
    """Return the answer, or write it to a file and return None.

    Raises:
        UsageError: the SQL is wrong or may not be run, a parameter is not named in it, the database
            is not published, or the suffix is unknown.
    """
    if config.output is not None:
        require_writable(config.output)
    text, parameters = _text(config), _parameters(config.param)
    opened = connect if config.unrestricted else connect_restricted
    with (
        closing(opened(Warehouse(config.warehouse))) as con,
        answering(con, text, parameters, unrestricted=config.unrestricted) as reader,
    ):
        if config.output is None:
            return reader.read_all()
        export(reader, config.output)
    return None


def say(config: SqlConfig, done: pa.Table | None) -> None:
    """Print the answer."""
    if done is None or not done.column_names:
        return
    terminal = console.out.is_terminal
    width = console.out.width
    if config.format == "parquet":
        if terminal:
            raise UsageError("parquet is not for a terminal; give --output FILE.parquet")
        pq.write_table(done, sys.stdout.buffer, compression="zstd")
        return
    reader = done.to_reader()
    if config.format == "table" and terminal:
        lines = write_table(reader, width)
    elif config.format is None and terminal:
        lines = write_readable(reader, width)
    else:
        lines = FORMATS[config.format or "csv"](reader)
    try:
        sys.stdout.writelines(lines)
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever reads has enough, as `head`; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _text(config: SqlConfig) -> str:
    given = config.statement
    path = config.file
    if given is not None and given.startswith("@"):
        path, given = Path(given[1:]), None
    if (given is None) == (path is None):
        raise UsageError("expected one of: SQL, @FILE, or --file FILE; see headatlas sql -h")
    if given is not None:
        return given
    if str(path) == "-":
        return sys.stdin.read()
    try:
        return Path(str(path)).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"{path} cannot be read: {reason}") from None


def _parameters(given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        name = name.strip().removeprefix("$")
        if not sign or not name:
            raise UsageError(f"--param {text!r}: expected NAME=VALUE, as key=images/000003.png")
        try:
            found[name] = json.loads(value, parse_constant=_no_constant)
        except ValueError:
            found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
