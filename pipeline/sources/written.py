"""What the program itself wrote inside a source: known by its marks, and passed over."""

import re
from collections.abc import Iterable
from pathlib import Path

from schemas.written import OUTPUTS

_MARKS = [
    (re.compile(r"((?:.*/)?)" + re.escape(mark).replace(r"\*", "[^/]+"), re.DOTALL), one.parts)
    for one in OUTPUTS
    for mark in one.marks
]


def written_in(folder: str, names: Iterable[str]) -> set[str]:
    """Return those names of a local folder's entries that the program wrote.

    Other entries of such a folder, as pictures beside a warehouse's parts, are a person's.
    """
    there = set(names)
    found: set[str] = set()
    for one in OUTPUTS:
        marks = [mark for mark in one.marks if mark.partition("/")[0] in there]
        if any(True for mark in marks for _ in Path(folder).glob(mark)):
            found |= one.parts & there
    return found


def written_among(names: Iterable[str]) -> set[str]:
    """Return the paths that the program wrote, files or folders, by the names of all files."""
    found: set[str] = set()
    for name in names:
        for mark, parts in _MARKS:
            if match := mark.fullmatch(name):
                found |= {match[1] + part for part in parts}
    return found


def holder_of(name: str, written: set[str]) -> str | None:
    """Return which of the paths `written` a file is or lies below; None if none."""
    ends = [at for at, letter in enumerate(name) if letter == "/"]
    return next((name[:end] for end in [*ends, len(name)] if name[:end] in written), None)
