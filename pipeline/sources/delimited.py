"""CSV and TSV listings, with numbers and booleans typed by column."""

import csv
import io
import lzma
import zlib
from collections.abc import Iterator, Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from pipeline.sources.compressed import open_listing, with_compressed
from pipeline.sources.paths import Found, suffix_of
from pipeline.sources.table import Rows, Table
from schemas.errors import SourceError, UsageError
from schemas.text import decode_text, require_closed_quotes

# A number with leading zeros is a name, as in 007.
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?$"
_INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
_NAN = r"^[+-]?(nan|NaN|NAN|inf|Inf)$"
_BOOLEAN = r"^(true|false|True|False|TRUE|FALSE)$"


class Delimited(Table):
    """CSV and TSV, compressed or not."""

    name = "CSV or TSV listing"
    expected = "a .csv or .tsv listing"
    suffixes = with_compressed(".csv", ".tsv")

    def rows(self, file: Found) -> Rows:
        """Open a listing.

        Raises:
            SourceError: it is no table, not UTF-8, or a quote in it is not closed.
        """
        table = _table(file, "\t" if suffix_of(file.name).startswith(".tsv") else ",")
        return Rows(tuple(table.column_names), lambda text: _typed_rows(table, text))


FORMAT = Delimited()


def _table(file: Found, delimiter: str) -> pa.Table:
    """Read a CSV or TSV with every column as text."""
    try:
        with open_listing(file) as raw:
            text = decode_text(raw.read())
        require_closed_quotes(text, delimiter, file.name)
        names = next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
        if len(set(names)) != len(names) or not names:
            problem = "two columns of one name" if names else "no header"
            raise SourceError(f"{file.name} has {problem}; its first line must name the columns")
        return pcsv.read_csv(
            pa.py_buffer(text.encode()),
            read_options=pcsv.ReadOptions(use_threads=False),
            parse_options=pcsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pcsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except UsageError as error:
        raise SourceError(str(error)) from None
    except (pa.ArrowException, UnicodeDecodeError, csv.Error, zlib.error, lzma.LZMAError) as error:
        what = " ".join(str(error).split())[:200]
        raise SourceError(f"cannot read {file.name}: {what}; expected UTF-8 CSV") from None


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
