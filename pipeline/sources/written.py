"""What the program itself wrote inside a source: known by its marks, and passed over."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from schemas.written import FOLDERS, OUTPUTS

_FOLDERS = [re.compile(rf"((?:.*/)?{above}/[^/]+)/{file}", re.DOTALL) for above, file in FOLDERS]
_MARKS = [
    (re.compile(r"((?:.*/)?)" + re.escape(mark).replace(r"\*", "[^/]+"), re.DOTALL), one.parts)
    for one in OUTPUTS
    for mark in one.marks
]
# Of a name that none of them ends in, nothing more is asked.
_LAST = frozenset(file for _, file in FOLDERS) | {
    mark.rpartition("/")[2] for one in OUTPUTS for mark in one.marks
}


def written_in(folder: str, names: Iterable[str]) -> set[str]:
    """Return those names of a local folder's entries that the program wrote.

    Other entries of such a folder, as pictures beside a warehouse's parts, are a person's.
    """
    there, path = set(names), Path(folder)
    found: set[str] = set()
    for above, file in FOLDERS:
        if path.absolute().name == above:
            found |= {name for name in there if (path / name / file).is_file()}
    for one in OUTPUTS:
        marks = [mark for mark in one.marks if mark.partition("/")[0] in there]
        if any(True for mark in marks for _ in path.glob(mark)):
            found |= one.parts & there
    return found


def written_around(base: str, names: Iterable[str]) -> set[str]:
    """Return the paths that the program wrote among local files, by what lies beside them.

    A pattern names some files of a folder, and maybe not those by which it is known.
    """
    found: set[str] = set()
    for folder in {parent for name in names for parent in PurePosixPath(name).parents}:
        path = Path(base) / folder
        written = written_in(str(path), (entry.name for entry in path.iterdir()))
        found |= {str(folder / part) for part in written}
    return found


def written_among(names: Iterable[str]) -> set[str]:
    """Return the paths that the program wrote, files or folders, by the names of all files."""
    found: set[str] = set()
    for name in names:
        if name.rpartition("/")[2] not in _LAST:
            continue
        found |= {match[1] for folder in _FOLDERS if (match := folder.fullmatch(name))}
        for mark, parts in _MARKS:
            if match := mark.fullmatch(name):
                found |= {match[1] + part for part in parts}
    return found


def holder_of(name: str, written: set[str]) -> str | None:
    """Return which of the paths `written` a file is or lies below; None if none."""
    ends = [at for at, letter in enumerate(name) if letter == "/"]
    return next((name[:end] for end in [*ends, len(name)] if name[:end] in written), None)
