"""Rows of a CSV, TSV, JSONL or Parquet listing, with typed values."""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from pipeline.sources import parquet
from pipeline.sources.paths import PARQUET_SUFFIXES, Found, open_binary, suffix_of
from schemas.errors import SourceError

_DECOMPRESS: dict[str, Callable[..., Any]] = {
    "gz": gzip.open,
    "bz2": bz2.open,
    "xz": lzma.open,
}
# A number with leading zeros is a name, as in 007.
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?$"
_INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
_NAN = r"^[+-]?(nan|NaN|NAN|inf|Inf)$"
_BOOLEAN = r"^(true|false|True|False|TRUE|FALSE)$"


@dataclass(frozen=True)
class Rows:
    """A listing that is open: its columns, and how to read its rows.

    Attributes:
        columns: names, in the file's order.
        read: yields each row as a dictionary; the columns named keep their text as written.
    """

    columns: tuple[str, ...]
    read: Callable[[Set[str]], Iterator[dict[str, Any]]]


def open_rows(file: Found) -> Rows:
    """Open a listing.

    Raises:
        SourceError: it is not what its suffix says, or not UTF-8.
    """
    suffix = suffix_of(file.name)
    if suffix in PARQUET_SUFFIXES:
        names = parquet.plain_columns(file)
        return Rows(tuple(names), lambda text: parquet.rows(file))
    if suffix.startswith((".jsonl", ".ndjson")):
        found = _json_rows(file)
        return Rows(tuple(dict.fromkeys(name for row in found for name in row)), _given(found))
    table = _csv(file, "\t" if suffix.startswith(".tsv") else ",")
    return Rows(tuple(table.column_names), lambda text: _typed_rows(table, text))


def _given(rows: Sequence[dict[str, Any]]) -> Callable[[Set[str]], Iterator[dict[str, Any]]]:
    return lambda text: iter(rows)


def _open(file: Found) -> Any:
    last = suffix_of(file.name).rpartition(".")[2]
    raw = open_binary(file.uri)
    return _DECOMPRESS[last](raw) if last in _DECOMPRESS else raw


def _json_rows(file: Found) -> list[dict[str, Any]]:
    found = []
    with _open(file) as raw:
        for number, line in enumerate(raw, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except ValueError as error:
                raise SourceError(f"{file.name} line {number} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise SourceError(
                    f"{file.name} line {number}: expected a JSON object, as in "
                    f'{{"path": "a.jpg"}}, got {type(row).__name__}'
                )
            found.append(row)
    return found


def _csv(file: Found, delimiter: str) -> pa.Table:
    """Read a CSV or TSV with every column as text."""
    try:
        with _open(file) as raw:
            header = io.TextIOWrapper(raw, "utf-8-sig", newline="")
            names = next(csv.reader(header, delimiter=delimiter), [])
            header.detach()
        if len(set(names)) != len(names) or not names:
            problem = "two columns of one name" if names else "no header"
            raise SourceError(f"{file.name} has {problem}; its first line must name the columns")
        with _open(file) as raw:
            return pcsv.read_csv(
                raw,
                read_options=pcsv.ReadOptions(use_threads=False),
                parse_options=pcsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pcsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
    except (pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
        text = " ".join(str(error).split())[:200]
        raise SourceError(f"cannot read {file.name}: {text}; expected UTF-8 CSV") from None


def _typed_rows(table: pa.Table, text: Set[str]) -> Iterator[dict[str, Any]]:
    """Yield rows with numbers and booleans typed per column, and empty cells as None."""
    columns = {
        name: table[name] if name in text else _typed(table[name]) for name in table.column_names
    }
    for batch in pa.table(columns).to_batches(16384):
        yield from batch.to_pylist()


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    if _all_match(text, _BOOLEAN):
        return pc.equal(pc.utf8_lower(text), "true")
    if _all_match(text, _INTEGER):
        return text.cast(pa.int64())
    number = pc.if_else(pc.match_substring_regex(text, _NAN), pa.scalar(None, pa.string()), text)
    return number.cast(pa.float64()) if _all_match(number, _NUMBER) else text


def _all_match(text: pa.ChunkedArray, pattern: str) -> bool:
    return pc.all(pc.match_substring_regex(text, pattern)).as_py() is True
