"""Parquet with image bytes: the Hugging Face `image: {bytes, path}` layout, or a binary column.

The key is `file.parquet#row`. Listing reads every column but those that hold bytes. The
fingerprint is the file's size and mtime, the column and the row: in a rewritten file every
picture counts as changed.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources.paths import MISSING, Found, open_binary
from pipeline.sources.request import (
    FOLDER,
    Request,
    label_text,
    metadata_json,
    refuse_options,
    require_column,
    require_unique,
)
from schemas.errors import SourceError, UsageError
from schemas.members import Member

# Preferred names when several columns hold bytes.
IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "content")
# A column that was asked for by name is kept in the uri, for the reader.
COLUMN_MARK = "#column="
_BATCH = 16384


def image_column(file: Found, asked: str | None) -> str | None:
    """Return the column that holds image bytes; None if the file is a listing of paths.

    Raises:
        SourceError: the file is not Parquet.
        UsageError: `asked` is no column, or several columns hold bytes and none is asked for.
    """
    return pick_image_column(_schema(file), asked, file.name)


def pick_image_column(schema: pa.Schema, asked: str | None, where: str) -> str | None:
    """Choose among a schema's columns as `image_column` does."""
    holding = [f.name for f in schema if bytes_type(f.type) is not None]
    if asked is not None:
        require_column(asked, schema.names, "--path-column", where)
        return asked if asked in holding else None
    structs = [name for name in holding if pa.types.is_struct(schema.field(name).type)]
    for choice in (structs, holding):
        if len(choice) == 1:
            return choice[0]
    for name in IMAGE_NAMES:
        if name in holding:
            return name
    if holding:
        raise UsageError(
            f"{where} has several columns of bytes ({', '.join(holding)}); name the pictures' "
            "with --path-column"
        )
    return None


def bytes_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type of the bytes in a binary or {bytes, path} column; None for any other."""
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return bytes_type(kind.field(index).type) if index >= 0 else None
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return kind if binary else None


def members(files: Sequence[Found], column: str, request: Request) -> list[Member]:
    """List the rows of Parquet files with image bytes, by file name and row.

    Raises:
        SourceError: a file is not Parquet.
        UsageError: the label column is not there, or a file lacks the image column.
    """
    refuse_options(request, "Parquet with image bytes", root=request.root)
    if request.labels == FOLDER:
        raise UsageError("--labels folder: rows of Parquet have no folder; name a column")
    listed: list[Member] = []
    for file in files:
        schema = _schema(file)
        require_column(column, schema.names, "image column", file.name)
        if request.labels is not None:
            require_column(request.labels, schema.names, "--labels", file.name)
        uri = f"{file.uri}{COLUMN_MARK}{column}" if request.path_column else file.uri
        names = class_names(schema, request.labels)
        for row, values in enumerate(rows(file, exclude=column)):
            label = values.pop(request.labels, None) if request.labels else None
            if names is not None and isinstance(label, int):
                label = names[label] if 0 <= label < len(names) else None
            listed.append(
                Member(
                    f"{file.name}#{row}",
                    uri,
                    f"{file.version}-{column}-{row}",
                    label_text(label),
                    metadata_json(values),
                    row,
                )
            )
    require_unique(listed)
    return listed


def rows(file: Found, exclude: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file as dictionaries, without columns that hold bytes."""
    with open_binary(file.uri) as raw:
        opened = pq.ParquetFile(raw)
        keep = [name for name in _plain(opened.schema_arrow) if name != exclude]
        if not keep:
            yield from ({} for _ in range(opened.metadata.num_rows))
            return
        for batch in opened.iter_batches(_BATCH, columns=keep, use_threads=False):
            yield from batch.to_pylist()


def plain_columns(file: Found) -> list[str]:
    """Return the names of the columns that `rows` reads.

    Raises:
        SourceError: the file is not Parquet.
    """
    return _plain(_schema(file))


def class_names(schema: pa.Schema, column: str | None) -> list[str] | None:
    """Return the names behind a Hugging Face ClassLabel column; None if it is none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _schema(file: Found) -> pa.Schema:
    if file.version == MISSING:
        raise SourceError(f"no such file: {file.uri}")
    try:
        with open_binary(file.uri) as raw:
            return pq.ParquetFile(raw).schema_arrow
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise SourceError(f"{file.uri} is not a whole Parquet file: {text}") from None


def _plain(schema: pa.Schema) -> list[str]:
    """Return the columns without bytes, and without pandas' own index."""
    return [
        f.name
        for f in schema
        if not _holds_bytes(f.type) and not f.name.startswith("__index_level_")
    ]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
