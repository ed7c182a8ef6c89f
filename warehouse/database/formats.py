"""Answers as text: CSV, TSV, JSON, Markdown, a drawn table, or one line a value. Values are exact.

A value is spelled by DuckDB: numbers as short as they can be read back, lists and structs as JSON.
NULL and an empty text differ in all of them but Markdown and the drawn table.

| format   | NULL        | empty text | within a text                                  |
|----------|-------------|------------|------------------------------------------------|
| csv      | (nothing)   | `""`       | quoted as in RFC 4180                          |
| tsv      | `\\N`        | (nothing)  | tab, newline, backslash as `\\t`, `\\n`, `\\\\`   |
| json     | `null`      | `""`       | one array of objects; NaN and infinity are null |
| line     | `NULL`      | (nothing)  | control characters escaped                     |
"""

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import duckdb
import pyarrow as pa

from warehouse.database.sqltext import Sql, identifier, render

_NESTED: Final = re.compile(r"\[\d*\]$|^(STRUCT|MAP|UNION)\b")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_WIDEST: Final = 1_000_000
_COLUMN: Final = 60

Row = Sequence[str | None]


def write_csv(reader: pa.RecordBatchReader) -> Iterator[str]:
    """Yield an answer as CSV, with a header."""
    yield ",".join(map(_csv, reader.schema.names)) + "\n"
    for row in _texts(reader):
        yield ",".join(map(_csv, row)) + "\n"


def _csv(value: str | None) -> str:
    if value is None:
        return ""
    if value == "" or any(c in value for c in ',"\n\r') or value != value.strip():
        return '"' + value.replace('"', '""') + '"'
    return value


def write_tsv(reader: pa.RecordBatchReader) -> Iterator[str]:
    """Yield an answer as tab-separated values, with a header, escaped as PostgreSQL's text."""
    yield "\t".join(map(_tsv, reader.schema.names)) + "\n"
    for row in _texts(reader):
        yield "\t".join(map(_tsv, row)) + "\n"


def _tsv(value: str | None) -> str:
    if value is None:
        return "\\N"
    return (
        value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    )


def write_json(reader: pa.RecordBatchReader) -> Iterator[str]:
    """Yield an answer as one JSON array with an object a row and a row a line."""
    keys = [json.dumps(name, ensure_ascii=False) for name in _distinct(reader.schema.names)]
    opened = "["
    for row in _texts(reader, as_json=True):
        pairs = (f"{key}: {value or 'null'}" for key, value in zip(keys, row, strict=True))
        yield f"{opened}{{{', '.join(pairs)}}}"
        opened = ",\n"
    yield "[]\n" if opened == "[" else "]\n"


def write_markdown(reader: pa.RecordBatchReader) -> Iterator[str]:
    """Yield an answer as a Markdown table."""
    yield _markdown(reader.schema.names)
    yield "|" + "---|" * len(reader.schema.names) + "\n"
    for row in _texts(reader):
        yield _markdown(row)


def _markdown(row: Row) -> str:
    cells = (visible(v or "").replace("\\", "\\\\").replace("|", "\\|") for v in row)
    return f"| {' | '.join(cells)} |\n"


def write_line(reader: pa.RecordBatchReader) -> Iterator[str]:
    """Yield an answer as `name = value` lines, an empty line between rows."""
    names = [visible(name) for name in reader.schema.names]
    width = max(map(len, names), default=0)
    for number, row in enumerate(_texts(reader)):
        yield "\n" if number else ""
        for name, value in zip(names, row, strict=True):
            yield f"{name:>{width}} = {'NULL' if value is None else visible(value)}\n"


def write_table(
    reader: pa.RecordBatchReader, width: int | None = None, rows: int = 200
) -> Iterator[str]:
    """Yield an answer as a table drawn by DuckDB, columns left out that do not fit in `width`."""
    yield _drawn(reader.read_all(), width or _WIDEST, rows)


def write_readable(reader: pa.RecordBatchReader, width: int, rows: int = 200) -> Iterator[str]:
    """Yield an answer as a drawn table where it fits in `width`, else as lines."""
    table = reader.read_all()
    drawn = _drawn(table, _WIDEST, rows)
    if max(map(len, drawn.splitlines()), default=0) <= width:
        yield drawn
    else:
        yield from write_line(table.to_reader())


FORMATS: Final[dict[str, Callable[[pa.RecordBatchReader], Iterator[str]]]] = {
    "table": write_table,
    "line": write_line,
    "csv": write_csv,
    "tsv": write_tsv,
    "json": write_json,
    "markdown": write_markdown,
}


def visible(text: str) -> str:
    """Return a text with control characters spelled out, so that a terminal obeys none of them."""
    return _CONTROL.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def _drawn(table: pa.Table, width: int, rows: int) -> str:
    if not table.column_names:
        return ""
    drawn = io.StringIO()
    with duckdb.connect() as con, contextlib.redirect_stdout(drawn):
        con.from_arrow(table).show(max_width=width, max_rows=rows, max_col_width=_COLUMN)
    lines = drawn.getvalue().rstrip("\n").split("\n")
    return "".join(f"{visible(line)}\n" for line in lines)


def _texts(reader: pa.RecordBatchReader, *, as_json: bool = False) -> Iterator[Row]:
    """Yield rows of an answer as texts; columns are counted, since names may repeat."""
    if not reader.schema.names:
        return
    names = [f"c{i}" for i in range(len(reader.schema))]
    fields = [field.with_name(name) for name, field in zip(names, reader.schema, strict=True)]
    schema = pa.schema(fields)
    batches = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in reader)
    with duckdb.connect() as con:
        answer = con.from_arrow(pa.RecordBatchReader.from_batches(schema, batches))
        spelled = [
            _spelled(identifier(name), str(kind), as_json)
            for name, kind in zip(names, answer.types, strict=True)
        ]
        for batch in answer.project(", ".join(spelled)).to_arrow_reader():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _spelled(column: Sql, kind: str, as_json: bool) -> Sql:
    """Return the expression of a column's text. A float is spelled before it is widened."""
    if kind in ("FLOAT[]", "DOUBLE[]"):
        finite = (
            "list_transform(:c::VARCHAR[]::DOUBLE[], lambda x: CASE WHEN isfinite(x) THEN x END)"
        )
        return render(f"to_json({finite})::VARCHAR", c=column)
    if _NESTED.search(kind):
        return render("to_json(:c)::VARCHAR", c=column)
    if as_json and kind in ("FLOAT", "DOUBLE"):
        return render(
            "CASE WHEN isfinite(:c) THEN to_json(:c::VARCHAR::DOUBLE) END::VARCHAR", c=column
        )
    return render("to_json(:c)::VARCHAR" if as_json else ":c::VARCHAR", c=column)


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names of which none repeats: the second `a` is `a_1`."""
    found: list[str] = []
    for name in names:
        unique, n = name, 0
        while unique in found:
            n += 1
            unique = f"{name}_{n}"
        found.append(unique)
    return found
