"""The one reader of text files that a person writes: byte-order marks, line ends, quotes.

Spreadsheets write a mark before the first byte, and CR LF; neither is part of a name.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import UsageError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode_text(data: bytes) -> str:
    r"""Return UTF-8, or UTF-16 with its mark, as text without the mark and with `\n` line ends.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: Path, expected: str) -> str:
    r"""Return a file's text without its mark and with `\n` line ends.

    Args:
        path: of the file.
        expected: what it ought to be, for messages: "a text file with one class per line".

    Raises:
        UsageError: it is absent, a folder, or not text.
    """
    try:
        return decode_text(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(f"no file {path}; expected {expected}") from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 (byte {error.start}: {error.reason}); expected {expected}"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; expected {expected}") from None


def read_lines(path: Path, expected: str) -> list[str]:
    """Return a file's lines, empty ones too but for the end of the last.

    Raises:
        UsageError: it is absent, a folder, or not text.
    """
    text = read_text(path, expected)
    return text.removesuffix("\n").split("\n") if text else []


def read_rows(
    path: Path, expected: str, delimiter: str = ","
) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a CSV whose first line names the columns.

    What a short row lacks is empty, what a long one has too much is dropped.

    Raises:
        UsageError: it is absent, not text, has no header, or has a quote that is not closed.
    """
    text = read_text(path, expected)
    require_closed_quotes(text, delimiter, str(path))
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, restkey="", restval="")
    if not reader.fieldnames:
        raise UsageError(f"{path} is empty; expected {expected}")
    names = [name for name in reader.fieldnames if name]
    return names, [{name: row[name] for name in names} for row in reader]


def require_closed_quotes(text: str, delimiter: str, where: str) -> None:
    """Check that no quote of a CSV is left open, which would swallow the rows behind it.

    Raises:
        UsageError: one is; the message names its line.
    """
    if '"' not in text:
        return
    for start, end in _records(text, delimiter):
        if end is None:
            raise UsageError(
                f"{where} line {start}: a quote is opened and not closed, which would swallow the "
                'rows behind it; close it, or write a quote inside a quoted cell as ""'
            )


def _records(text: str, delimiter: str) -> Iterator[tuple[int, int | None]]:
    """Yield each record's first and last line; None for the last of one that does not end."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # something odd within one line is for the parser; over several lines rows are lost
            swallowed = reader.line_num > start or str(error) == "unexpected end of data"
            yield start, None if swallowed else reader.line_num
            continue
        yield start, reader.line_num


def how_many(count: int, noun: str) -> str:
    """Return a count with its noun: `1 picture`, `2,300 pictures`, `3 classes`, `0 queries`."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"
