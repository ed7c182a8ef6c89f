"""JSON lines listings: an object a line."""

import json
import lzma
import zlib
from collections.abc import Iterable, Set
from typing import Any

from pipeline.sources.compressed import open_listing, with_compressed
from pipeline.sources.paths import Found
from pipeline.sources.table import BadRow, Rows, Table
from schemas.errors import SourceError
from schemas.text import decode_text


class JsonLines(Table):
    """JSONL, compressed or not."""

    name = "JSONL listing"
    expected = "a .jsonl listing"
    suffixes = with_compressed(".jsonl", ".ndjson")

    def rows(self, file: Found) -> Rows:
        """Open a listing; a line that is nested too deeply to be read is a bad row.

        Raises:
            SourceError: a line is no JSON object, or the file is not UTF-8.
        """
        found = _rows(file)
        named = (name for row in found if not isinstance(row, BadRow) for name in row)

        def read(text: Set[str]) -> Iterable[dict[str, Any] | BadRow]:
            return iter(found)

        return Rows(tuple(dict.fromkeys(named)), read)


FORMAT = JsonLines()


def _rows(file: Found) -> list[dict[str, Any] | BadRow]:
    try:
        with open_listing(file) as raw:
            # not splitlines: JSON may hold other line ends, as U+2028, inside a string
            lines = decode_text(raw.read()).split("\n")
    except (UnicodeDecodeError, zlib.error, lzma.LZMAError) as error:
        raise SourceError(f"cannot read {file.name}: {error}; expected JSON lines") from None
    return [_row(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _row(file: Found, number: int, line: str) -> dict[str, Any] | BadRow:
    try:
        row = json.loads(line)
    except RecursionError:
        return BadRow(f"line {number} is nested too deeply")
    except ValueError as error:
        raise SourceError(f"{file.name} line {number} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise SourceError(
            f"{file.name} line {number}: expected a JSON object, as in "
            f'{{"path": "a.jpg"}}, got {type(row).__name__}'
        )
    return row
