"""Parquet with image bytes: the Hugging Face `image: {bytes, path}` layout, or a binary column.

The key is `file.parquet#row`. Listing reads every column but those that hold bytes. The
fingerprint is the file's size and mtime, the column and the row: in a rewritten file every
picture counts as changed. Reading streams small batches of rows, since a row group of pictures may
not fit in memory. A damaged file among others is one member that is rejected.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.pictures.decode import Rejected
from pipeline.sources.base import Format, damaged
from pipeline.sources.parquet_columns import (
    DamagedFile,
    bytes_type,
    class_names,
    image_column,
    pick_image_column,
    rows,
    schema_of,
)
from pipeline.sources.paths import PARQUET_SUFFIXES, Found, open_binary, suffix_of, version_of
from pipeline.sources.plain import MAX_BYTES, Shelf, read_plain, too_large
from pipeline.sources.request import (
    FOLDER,
    Request,
    label_text,
    metadata_json,
    refuse_options,
    require_column,
    require_unique,
)
from schemas.errors import UsageError
from schemas.members import Member

# A column that was asked for by name is kept in the uri, for the reader.
COLUMN_MARK = "#column="
# Bytes of pictures in one batch of rows; the last few batches are kept.
_BATCH_BYTES = 8 << 20
_BATCHES_KEPT = 3


class ParquetBytes(Format):
    """Pictures in the rows of Parquet files."""

    name = "Parquet with image bytes"
    expected = ".parquet with image bytes"
    suffixes = PARQUET_SUFFIXES
    container = "Parquet file"

    def claims(self, files: Sequence[Found], request: Request) -> list[Found]:
        """Take Parquet files if the first whole one has a column of image bytes."""
        return list(files) if image_column(files, request.path_column) is not None else []

    def members(self, files: Sequence[Found], request: Request) -> list[Member]:
        """List the rows, by file name and row.

        Raises:
            UsageError: the label column is not there, or a file lacks the image column.
        """
        refuse_options(request, self.name, root=request.root)
        if request.labels == FOLDER:
            raise UsageError("--labels folder: rows of Parquet have no folder; name a column")
        column = image_column(files, request.path_column)
        assert column is not None
        listed: list[Member] = []
        for file in files:
            try:
                listed += list(_members(file, column, request))
            except DamagedFile as error:
                listed.append(damaged(file, str(error)))
        require_unique(listed)
        return listed

    def holds(self, uri: str) -> bool:
        """Say whether a uri is of a Parquet file."""
        return suffix_of(uri.partition(COLUMN_MARK)[0]) in PARQUET_SUFFIXES

    def read(self, member: Member, shelf: Shelf) -> bytes:
        """Return the bytes in the member's row.

        Raises:
            Rejected: it has none, or too many.
            OSError, ValueError: the file or the row group cannot be read.
        """
        if member.offset < 0:
            return read_plain(member)
        with shelf.held(member.uri, OpenParquet) as file:
            found: bytes | None = file.row(member.offset)
        if found is None:
            raise Rejected("read", "the row has no image bytes")
        return found

    def reread(
        self, key: str, uri: str, fingerprint: str, read: Callable[[Member], bytes]
    ) -> bytes:
        """Return the bytes of a stored row, if its file is the one that was scanned.

        Raises:
            Rejected: it is another by now, or cannot be read.
        """
        row = key.rpartition("#")[2]
        if not row.isdecimal():
            return read(Member(key, uri, fingerprint))
        path = uri.partition(COLUMN_MARK)[0]
        if not fingerprint.startswith(f"{version_of(path)}-"):
            raise Rejected("read", f"{path} has changed since it was scanned")
        return read(Member(key, uri, fingerprint, offset=int(row)))


FORMAT = ParquetBytes()


def _members(file: Found, column: str, request: Request) -> Iterator[Member]:
    schema = schema_of(file)
    require_column(column, schema.names, "image column", file.name)
    if request.labels is not None:
        require_column(request.labels, schema.names, "--labels", file.name)
    uri = f"{file.uri}{COLUMN_MARK}{column}" if request.path_column else file.uri
    names = class_names(schema, request.labels)
    for row, values in enumerate(rows(file, exclude=column)):
        label = values.pop(request.labels, None) if request.labels else None
        if names is not None and isinstance(label, int):
            label = names[label] if 0 <= label < len(names) else None
        yield Member(
            f"{file.name}#{row}",
            uri,
            f"{file.version}-{column}-{row}",
            label_text(label),
            metadata_json(values),
            row,
        )


class OpenParquet:
    """One Parquet file, read forward: rows at hand are those of the last few batches."""

    def __init__(self, uri: str) -> None:
        """Open the file that a member's uri names.

        Raises:
            OSError, ValueError: it cannot be read, or has no column of image bytes.
        """
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
        """Close the file."""
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
        raise Rejected("read", too_large(len(found)))
    return found
