"""Results of a scan as single Parquet files, each with where it comes from in its own metadata.

One file is replaced atomically, so rows and their provenance never part.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import CorruptStore
from warehouse.files.atomic import PARQUET, fsync, temporary_beside, write_table
from warehouse.files.layout import ScanDir

_KEY: Final = b"headatlas"


def write_result(path: Path, table: pa.Table, provenance: dict[str, Any]) -> None:
    """Write a result, replacing what is there; `provenance` goes into the schema's metadata."""
    metadata = {**(table.schema.metadata or {}), _KEY: json.dumps(provenance).encode()}
    write_table(path, table.replace_schema_metadata(metadata))


@contextmanager
def stream_result(
    path: Path, schema: pa.Schema, provenance: dict[str, Any]
) -> Iterator[pq.ParquetWriter]:
    """Give a writer of a result that is too large to hold; the file appears when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = temporary_beside(path)
    metadata = {**(schema.metadata or {}), _KEY: json.dumps(provenance).encode()}
    try:
        with pq.ParquetWriter(aside, schema.with_metadata(metadata), **PARQUET) as writer:
            yield writer
        fsync(aside)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def read_result(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Read a result and its provenance.

    Raises:
        CorruptStore: the file is absent or no result of this program.
    """
    return _opened(path, lambda: pq.read_table(path, partitioning=None)), read_provenance(path)


def read_provenance(path: Path) -> dict[str, Any]:
    """Read only where a result comes from.

    Raises:
        CorruptStore: the file is absent or no result of this program.
    """
    metadata = _opened(path, lambda: pq.read_schema(path)).metadata or {}
    if _KEY not in metadata:
        raise CorruptStore(f"{path} carries no provenance; make this result again")
    found: dict[str, Any] = json.loads(metadata[_KEY])
    return found


def check_columns(path: Path, declared: pa.Schema, command: str) -> None:
    """Check that a result has the columns that its table is loaded from.

    Raises:
        CorruptStore: the file cannot be read, or was written by another version of `command`.
    """
    there = _opened(path, lambda: pq.read_schema(path))
    other = [f.name for f in declared if f.name not in there.names or there.field(f.name) != f]
    if other:
        raise CorruptStore(
            f"{path} has another {', '.join(other)} than this version writes; delete it, and run "
            f"{command} again"
        )


def _opened(path: Path, read: Any) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise CorruptStore(f"{path} is missing; make this result again") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CorruptStore(f"{path} cannot be read: {reason}; make this result again") from None


def list_results(scan: ScanDir, kind: str) -> list[Path]:
    """Return the files of one kind of result: textspan, roles, classifiers, ..., sorted."""
    return sorted(scan.results(kind).rglob("*.parquet"))
