"""Answers as files: by suffix, whole or absent, written batch by batch."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import UsageError
from warehouse.database.formats import write_csv, write_json, write_markdown, write_tsv
from warehouse.files.atomic import replacing


def require_writable(path: Path) -> None:
    """Check that an answer can be written there.

    Raises:
        UsageError: the suffix is unknown, or the folder does not exist.
    """
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(
            f"cannot write to {path.name!r}; expected a name that ends in {', '.join(_WRITERS)}"
        )
    if not path.parent.is_dir():
        raise UsageError(f"cannot write to {path}: there is no folder {path.parent}")


def export(reader: pa.RecordBatchReader, path: Path) -> None:
    """Write an answer to a file.

    Raises:
        UsageError: as `require_writable`; or the answer has no columns, as that of SET.
    """
    require_writable(path)
    if not reader.schema.names:
        raise UsageError("the statement has no rows to write; expected a SELECT")
    with replacing(path) as aside:
        _WRITERS[path.suffix.lower()](reader, aside)


def _write_parquet(reader: pa.RecordBatchReader, path: Path) -> None:
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)


def _write_arrow(reader: pa.RecordBatchReader, path: Path) -> None:
    with pa.ipc.new_file(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def _as_text(
    spelled: Callable[[pa.RecordBatchReader], Iterator[str]],
) -> Callable[[pa.RecordBatchReader, Path], None]:
    def write(reader: pa.RecordBatchReader, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(spelled(reader))

    return write


_WRITERS: Final[dict[str, Callable[[pa.RecordBatchReader, Path], None]]] = {
    ".parquet": _write_parquet,
    ".csv": _as_text(write_csv),
    ".arrow": _write_arrow,
    ".tsv": _as_text(write_tsv),
    ".json": _as_text(write_json),
    ".md": _as_text(write_markdown),
}
