"""Reading a picture's bytes, wherever its source keeps them.

Plain files and tar members are read by path, offset and size: no state. Parquet is streamed in
small batches of rows, since a row group of pictures may not fit in memory.
"""

import os
import stat
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.pictures.decode import Rejected
from pipeline.sources.parquet import COLUMN_MARK, bytes_type, pick_image_column
from pipeline.sources.paths import filesystem, local_path, open_binary
from pipeline.sources.tars import DAMAGED
from schemas.members import Member

# A file larger than this is rejected, not read.
MAX_BYTES = 256 << 20
# Parquet files kept open: one, and the next while other threads finish the first.
_OPEN_FILES = 2
# Bytes of pictures in one batch of Parquet rows; the last few batches are kept.
_BATCH_BYTES = 8 << 20
_BATCHES_KEPT = 3
# A remote file is asked for this often, with pauses, before it is given up.
_TRIES = 3
_PAUSE = 0.5


class Reader:
    """Reads members for one worker. Safe to share among its threads; close it when done."""

    def __init__(self) -> None:
        """Start with nothing open."""
        self._lock = threading.Lock()
        self._files: OrderedDict[str, _ParquetFile] = OrderedDict()

    def read(self, member: Member) -> bytes:
        """Return the bytes of a picture.

        Raises:
            Rejected: at stage `read`: not there, not a file, not readable, or too large.
        """
        if member.fingerprint.startswith(DAMAGED):
            raise Rejected("read", f"the tar is {member.fingerprint.rpartition(' ')[0]}")
        if member.size > MAX_BYTES:
            raise Rejected("read", _too_large(member.size))
        try:
            if member.offset >= 0 and member.size < 0:
                return self._read_row(member)
            if (path := local_path(member.uri)) is not None:
                return _read_local(path, member.offset, member.size)
        except FileNotFoundError:
            raise Rejected("read", "no such file") from None
        except (OSError, ValueError, pa.ArrowException) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise Rejected("read", text) from None
        return _read_remote(member)

    def close(self) -> None:
        """Close what is open; reading opens it again."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def __enter__(self) -> "Reader":
        """Return the reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what is open."""
        self.close()

    def _read_row(self, member: Member) -> bytes:
        with self._lock:
            file = self._files.get(member.uri)
            if file is None:
                file = self._files[member.uri] = _ParquetFile(member.uri)
                if len(self._files) > _OPEN_FILES:
                    self._files.popitem(last=False)[1].close()
            self._files.move_to_end(member.uri)
            found = file.row(member.offset)
        if found is None:
            raise Rejected("read", "the row has no image bytes")
        return found


class _ParquetFile:
    """One Parquet file, read forward: rows at hand are those of the last few batches."""

    def __init__(self, uri: str) -> None:
        path, _, asked = uri.partition(COLUMN_MARK)
        self.raw = open_binary(path)
        # with a buffer, pages are read as they are needed, not a whole row group at once
        self.file = pq.ParquetFile(self.raw, buffer_size=1 << 20, pre_buffer=False)
        column = pick_image_column(self.file.schema_arrow, asked or None, path)
        if column is None:
            raise ValueError(f"no column of image bytes in {path}")
        self.column = column
        self.path = column
        if pa.types.is_struct(self.file.schema_arrow.field(column).type):
            self.path = f"{column}.bytes"
        metadata = self.file.metadata
        counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self.starts = [sum(counts[:i]) for i in range(len(counts) + 1)]
        self.group = -1
        self.next_row = 0
        self.batches: Iterator[pa.RecordBatch] = iter(())
        self.damage: dict[int, int] = {}
        self.kept: deque[tuple[int, pa.Array]] = deque(maxlen=_BATCHES_KEPT)

    def row(self, row: int) -> bytes | None:
        """Return the bytes in a row; None when it has none."""
        if not 0 <= row < self.starts[-1]:
            raise ValueError(f"the file has {self.starts[-1]} rows, and no row {row}")
        for start, array in self.kept:
            if start <= row < start + len(array):
                return _bytes(array, row - start)
        group = next(i for i, start in enumerate(self.starts[1:]) if row < start)
        if row >= self.damage.get(group, row + 1):
            raise ValueError("the row group is damaged before this row")
        if group != self.group or row < self.next_row:
            self._start(group)
        try:
            while row >= self.next_row:
                batch = next(self.batches)
                start, self.next_row = self.next_row, self.next_row + batch.num_rows
                self.kept.append((start, batch.column(0)))
        except (OSError, ValueError, pa.ArrowException, StopIteration) as error:
            # nothing behind the damage can be had, and each try would read the group anew
            self.damage[group], self.group = self.next_row, -1
            raise ValueError(f"the row group is damaged: {error}") from None
        start, array = self.kept[-1]
        return _bytes(array, row - start)

    def close(self) -> None:
        self.file.close()
        self.raw.close()

    def _start(self, group: int) -> None:
        """Begin to read a row group from its first row."""
        described = self.file.metadata.row_group(group)
        sizes = [
            described.column(i).total_uncompressed_size
            for i in range(described.num_columns)
            if described.column(i).path_in_schema == self.path
        ]
        each = max(1, sum(sizes) // max(1, described.num_rows))
        self.batches = self.file.iter_batches(
            max(1, min(256, _BATCH_BYTES // each)),
            row_groups=[group],
            columns=[self.path],
            use_threads=False,
        )
        self.group, self.next_row = group, self.starts[group]


def _bytes(array: pa.Array, index: int) -> bytes | None:
    assert bytes_type(array.type) is not None
    value = array[index].as_py()
    found: bytes | None = value.get("bytes") if isinstance(value, dict) else value
    if found is not None and len(found) > MAX_BYTES:
        raise Rejected("read", _too_large(len(found)))
    return found


def _read_local(path: str, offset: int, size: int) -> bytes:
    status = os.stat(path)  # noqa: PTH116  Path.stat costs twice the time
    if stat.S_ISDIR(status.st_mode):
        raise Rejected("read", "it is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        # opening a pipe would wait for ever
        raise Rejected("read", "it is not a regular file")
    if offset < 0:
        if status.st_size > MAX_BYTES:
            raise Rejected("read", _too_large(status.st_size))
        return Path(path).read_bytes()
    with Path(path).open("rb") as file:
        file.seek(offset)
        return _whole(file.read(size), size)


def _read_remote(member: Member) -> bytes:
    fs, path = filesystem(member.uri)
    start = max(member.offset, 0)
    end = start + (member.size if member.offset >= 0 else MAX_BYTES + 1)
    for attempt in range(_TRIES):
        try:
            data: bytes = fs.cat_file(path, start=start, end=end)
            break
        except FileNotFoundError:
            raise Rejected("read", "no such file") from None
        except Exception as error:  # noqa: BLE001  each file system has errors of its own
            if attempt == _TRIES - 1 or isinstance(error, (PermissionError, IsADirectoryError)):
                raise Rejected("read", f"{type(error).__name__}: {error}") from None
            time.sleep(_PAUSE * 2**attempt)
    if member.offset >= 0:
        return _whole(data, member.size)
    if len(data) > MAX_BYTES:
        raise Rejected("read", _too_large(len(data)))
    return data


def _whole(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise Rejected("read", f"the container ends early: {len(data)} of {size} bytes")
    return data


def _too_large(size: int) -> str:
    return f"{size:,} bytes or more, the limit is {MAX_BYTES:,}"
