"""Files that are either whole or absent: written aside, fsynced, renamed into place.

A rename within one folder is atomic on POSIX, so a reader sees the old file or the new one and a
kill leaves at most a temporary file whose name starts with `.tmp-`. Nothing here takes a lock.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

TEMPORARY: Final = ".tmp-"
PROBE: Final = ".probe-"
# a database while it is being built, and its log
_BUILDING: Final = (".duckdb.tmp", ".duckdb.tmp.wal")


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that a killed run may have left behind."""
    return name.startswith((TEMPORARY, PROBE)) or name.endswith(_BUILDING)


PARQUET: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": False,
}


def temporary_beside(path: Path) -> Path:
    """Return an unused name in the folder of `path`, for what will be renamed to `path`."""
    return path.parent / f"{TEMPORARY}{path.name}-{uuid.uuid4().hex[:12]}"


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path`, atomically and durably, replacing what is there."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, atomically and durably, replacing what is there."""
    with replacing(path) as aside:
        aside.write_bytes(data)


def write_table(path: Path, table: "pa.Table", **options: Any) -> None:
    """Write `table` as one Parquet file, atomically and durably, replacing what is there.

    Args:
        path: the file.
        table: its rows, schema metadata included.
        options: of `pyarrow.parquet.write_table`, over the house's zstd level 1, no dictionary.
    """
    import pyarrow.parquet as pq

    with replacing(path) as aside:
        pq.write_table(table, aside, **{**PARQUET, **options})


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a file to write; it takes the place of `path` when it is whole, durably.

    Where writing it fails, what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = temporary_beside(path)
    try:
        yield aside
        fsync(aside)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def create_text(path: Path, text: str) -> None:
    """Write `text` to `path`, atomically and durably, only if nothing is there.

    Of several processes that try at once exactly one succeeds (a hard link is exclusive, also over
    NFS).

    Raises:
        FileExistsError: somebody else has created it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = temporary_beside(path)
    try:
        aside.write_text(text, encoding="utf-8")
        fsync(aside)
        os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    fsync(path.parent)


def install_folder(aside: Path, target: Path) -> bool:
    """Rename the complete folder `aside` to `target`; False when a target is there already."""
    fsync_tree(aside)
    try:
        aside.rename(target)
    except OSError:
        if target.is_dir():
            return False
        raise
    fsync(target.parent)
    return True


def fsync(path: Path) -> None:
    """Force a file's bytes, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(folder: Path) -> None:
    """Force every file and folder below `folder` to disk, then `folder` itself."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            fsync_tree(entry)
        else:
            fsync(entry)
    fsync(folder)


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
