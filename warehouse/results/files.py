"""Results of a scan as single Parquet files, each with where it comes from in its own metadata.

One file is replaced atomically, so rows and their provenance never part. The file carries the
sha256 of all its bytes, its seal, taken while the place of the seal itself was blank.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import CorruptStore, NewerFormat
from schemas.kinds import Kind
from warehouse.files.atomic import PARQUET, replacing
from warehouse.files.layout import ScanDir

STANDS_ON: Final = "stands_on"
"""Where a provenance says the parts of its claim; results of older versions have none."""

_KEY: Final = b"headatlas"
_SEAL: Final = b"headatlas_seal"
_BLANK: Final = b"sha256:" + b"0" * 64
_SEALED: Final = re.compile(_SEAL + rb".{1,6}?sha256:([0-9a-f]{64})", re.DOTALL)


def utc_now() -> str:
    """Return the time as results say it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def write_result(path: Path, table: pa.Table, provenance: dict[str, Any]) -> None:
    """Write a result, replacing what is there; `provenance` goes into the schema's metadata."""
    with stream_result(path, table.schema, provenance) as writer:
        writer.write_table(table.cast(writer.schema))


@contextmanager
def stream_result(
    path: Path, schema: pa.Schema, provenance: dict[str, Any]
) -> Iterator[pq.ParquetWriter]:
    """Give a writer of a result that is too large to hold; the file appears when it is whole."""
    metadata = {**(schema.metadata or {}), _KEY: json.dumps(provenance).encode()}
    metadata.pop(_SEAL, None)
    with replacing(path) as aside:
        with pq.ParquetWriter(aside, schema.with_metadata(metadata), **PARQUET) as writer:
            yield writer
            writer.add_key_value_metadata({_SEAL.decode(): _BLANK.decode()})
        _seal(aside)


def _seal(path: Path) -> None:
    """Write the digest of a file's bytes into the blank that it has for it."""
    place = _seal_place(path)
    if place is None:
        raise CorruptStore(f"{path} has no place for its digest")
    said = _sha256(path, place[0])
    with path.open("r+b") as stream:
        stream.seek(place[0])
        stream.write(said.encode())


def _seal_place(path: Path) -> tuple[int, str] | None:
    """Return where a Parquet file's footer has its seal, and what that says; None without one."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 8))
        length = int.from_bytes(stream.read(4), "little")
        start = size - 8 - length
        if start < 0:
            return None
        stream.seek(start)
        found = _SEALED.search(stream.read(length))
    return (start + found.start(1), found[1].decode()) if found else None


def _sha256(path: Path, blank: int) -> str:
    """Return the sha256 of a file with 64 zeros at `blank`."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        left = blank
        while left:
            block = stream.read(min(left, 1 << 20))
            total.update(block)
            left -= len(block)
        stream.seek(blank + 64)
        total.update(b"0" * 64)
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def check_seal(path: Path) -> None:
    """Check a result's bytes against the digest that it carries; those of older versions have none.

    Raises:
        CorruptStore: they are not those that were written.
    """
    place = _opened(path, lambda: _seal_place(path))
    if place is None:
        if STANDS_ON in read_provenance(path):
            raise CorruptStore(f"{path} has lost its digest; make this result again")
        return
    if _sha256(path, place[0]) != place[1]:
        raise CorruptStore(
            f"{path} is not what was written: its sha256 differs; make this result again"
        )


def sha256_table(table: pa.Table) -> str:
    """Return the sha256 of a table's values, whatever file they lie in."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None).combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()


def read_result(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Read a result and its provenance.

    Raises:
        CorruptStore: the file is absent or no result of this program.
    """
    return _opened(path, lambda: _read(path)), read_provenance(path)


def _read(path: Path) -> pa.Table:
    # `pq.read_table` would import what reads whole folders
    with pq.ParquetFile(path) as file:
        return file.read()


def read_provenance(path: Path) -> dict[str, Any]:
    """Read only where a result comes from.

    Raises:
        CorruptStore: the file is absent or no result of this program.
    """
    metadata = _opened(path, lambda: pq.read_schema(path)).metadata or {}
    if _KEY not in metadata:
        raise CorruptStore(f"{path} carries no provenance; make this result again")
    try:
        found: dict[str, Any] = json.loads(metadata[_KEY])
    except ValueError:
        raise CorruptStore(f"{path} has an unreadable provenance; make it again") from None
    return found


def check_columns(path: Path, kind: Kind) -> None:
    """Check that a result has the columns of its tables, and a format that this version reads.

    Raises:
        NewerFormat: a newer version of the program has written it.
        CorruptStore: the file cannot be read, or lacks a column.
    """
    number = read_provenance(path).get("format", 1)
    if number > kind.format:
        raise NewerFormat(
            f"{path} was written by a newer version, in format {number}; this one reads up to "
            f"{kind.format}: use the version that wrote it, or a later one"
        )
    there = _opened(path, lambda: pq.read_schema(path))
    other = [
        f.name
        for f in kind.schema
        if f.name not in there.names or not _same(there.field(f.name).type, f.type)
    ]
    if other:
        raise CorruptStore(
            f"{path} has another {', '.join(other)} than {kind.name} of this version; run "
            f"headatlas {kind.command} again"
        )


def _same(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether two columns are of one type; vectors may differ in width."""
    if pa.types.is_fixed_size_list(one) and pa.types.is_fixed_size_list(other):
        return bool(one.value_type == other.value_type)
    return bool(one == other)


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
