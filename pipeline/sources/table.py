"""Listings: tables with a path column, and any others as metadata.

The key is the path as written. Relative paths start from the listing's own folder, or `--root`.
A row whose file is not there is kept; it is rejected when it is read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.sources.base import Format, damaged
from pipeline.sources.parquet_columns import DamagedFile
from pipeline.sources.paths import Found, as_local, to_uri, version_of
from pipeline.sources.request import (
    FOLDER,
    Request,
    TooDeep,
    clean_text,
    label_text,
    metadata_json,
    require_column,
    require_unique,
    with_folder_labels,
)
from schemas.errors import SourceError, UsageError
from schemas.members import Member

PATH_NAMES = ("path", "file", "filename", "image", "img_filename", "filepath", "uri", "url")
# Remote files are looked at one by one; this many at once.
_REMOTE_THREADS = 16


class BadRow(NamedTuple):
    """A row that cannot be used, where a row would stand: it is one reject."""

    reason: str


@dataclass(frozen=True)
class Rows:
    """A listing that is open: its columns, and how to read its rows.

    Attributes:
        columns: names, in the file's order.
        read: yields each row as a dictionary; the columns named keep their text as written.
    """

    columns: tuple[str, ...]
    read: Callable[[Set[str]], Iterable[dict[str, Any] | BadRow]]


class Table(Format):
    """Base of the listings: one says how the rows of a file are had, and this does the rest."""

    only_named = True

    def rows(self, file: Found) -> Rows:
        """Open a listing.

        Raises:
            SourceError: it is not what its suffix says.
        """
        raise NotImplementedError

    def members(self, files: Sequence[Found], request: Request) -> list[Member]:
        """List the rows of one or more listings, sorted by key.

        Raises:
            SourceError: a listing cannot be read, or a row has no path.
            DuplicateKey: a path is listed twice.
            UsageError: a column is not there, or which one holds the path is not clear.
        """
        listed: list[Member] = []
        rejected: list[Member] = []
        starts: list[tuple[int, str]] = []
        for file in files:
            starts.append((len(listed), file.name))
            try:
                listed.extend(_members(file, self.rows(file), request, rejected))
            except DamagedFile as error:
                if len(files) == 1:
                    raise
                del listed[starts[-1][0] :]
                rejected.append(damaged(file, str(error)))

        def place(index: int) -> str:
            start, name = next(s for s in reversed(starts) if s[0] <= index)
            return f"{name} row {index - start + 1}"

        require_unique(listed, place)
        versions = _versions([member.uri for member in listed])
        listed = [
            Member(m.key, m.uri, version, m.label, m.metadata)
            for m, version in zip(listed, versions, strict=True)
        ]
        if request.labels == FOLDER:
            listed = with_folder_labels(listed, lambda member: member.key, request)
        listed += rejected
        listed.sort(key=lambda member: member.key)
        return listed


def _members(
    file: Found, table: Rows, request: Request, rejected: list[Member]
) -> Iterator[Member]:
    """List one file's rows in its order, without fingerprints; those of no use go to `rejected`."""
    path_column = _path_column(table, request.path_column, file.name)
    label_column = None if request.labels == FOLDER else request.labels
    if label_column is not None:
        require_column(label_column, table.columns, "--labels", file.name)
    base = request.root if request.root is not None else file.uri.rpartition("/")[0] or "/"
    local = as_local(base)
    folder = (base if local is None else local).rstrip("/")
    text_columns = {name for name in (path_column, label_column) if name is not None}
    labels: dict[str, str] = {}
    for number, values in enumerate(table.read(text_columns), start=1):
        if isinstance(values, BadRow):
            rejected.append(damaged(file, values.reason, f"{file.name}#{number}"))
            continue
        path = values.pop(path_column, None)
        if not isinstance(path, str) or not path:
            raise SourceError(
                f"{file.name} row {number}: no path in the column {path_column} (got {path!r}); "
                "fill it in or remove the row"
            )
        label = label_text(values.pop(label_column, None)) if label_column else None
        label = None if label is None else labels.setdefault(label, label)
        uri = _uri(path, folder, is_local=local is not None)
        try:
            yield Member(clean_text(path), uri, "", label, metadata_json(values))
        except TooDeep as error:
            rejected.append(damaged(file, f"row {number} {error}", f"{file.name}#{number}"))


def _uri(written: str, folder: str, *, is_local: bool) -> str:
    """Return where a path as written is read, given the folder that relative ones start from."""
    if "://" in written:
        local = as_local(written)
        return clean_text(written) if local is None else to_uri(local)
    if not is_local:
        return clean_text(f"{folder}/{written.lstrip('/')}")
    return to_uri(written if written.startswith("/") else f"{folder}/{written}")


def _versions(uris: Sequence[str]) -> list[str]:
    if not any("://" in uri for uri in uris):
        return [version_of(uri) for uri in uris]
    with ThreadPoolExecutor(_REMOTE_THREADS) as pool:
        return list(pool.map(version_of, uris))


def _path_column(table: Rows, asked: str | None, where: str) -> str:
    if asked is not None:
        require_column(asked, table.columns, "--path-column", where)
        return asked
    found = [name for name in table.columns if name.lower() in PATH_NAMES]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(table.columns[:20]) or "(none)"
    problem = f"could be {' or '.join(found)}" if found else "is not clear"
    raise UsageError(
        f"the path column of {where} {problem}; name it with --path-column (columns: {listed})"
    )
