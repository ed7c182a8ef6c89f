"""Columns of Parquet files: which hold image bytes, which are metadata, and their rows."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources.paths import MISSING, Found, open_binary
from pipeline.sources.request import require_column
from schemas.errors import SourceError, UsageError

# Preferred names when several columns hold bytes.
IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "content")
_BATCH = 16384


class DamagedFile(SourceError):
    """One file of a source is not what its suffix says."""


def schema_of(file: Found) -> pa.Schema:
    """Return a file's schema.

    Raises:
        DamagedFile: it is not there, or not Parquet.
    """
    if file.version == MISSING:
        raise DamagedFile(f"no such file: {file.uri}")
    try:
        with open_binary(file.uri) as raw:
            return pq.ParquetFile(raw).schema_arrow
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise DamagedFile(f"{file.uri} is not a whole Parquet file: {text}") from None


def image_column(files: Sequence[Found], asked: str | None) -> str | None:
    """Return the column with image bytes, by the first file that is whole; None for a listing.

    Raises:
        DamagedFile: no file is whole.
        UsageError: `asked` is no column, or several columns hold bytes and none is asked for.
    """
    damage = DamagedFile("there is no Parquet file")
    for file in files:
        try:
            return pick_image_column(schema_of(file), asked, file.name)
        except DamagedFile as error:
            damage = error
    raise damage


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
    return kind if _is_bytes(kind) else None


def _is_bytes(kind: pa.DataType) -> bool:
    """Say whether a type is of bytes of any length; Polars writes views of them."""
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)


def rows(file: Found, exclude: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file as dictionaries, without columns that hold bytes.

    Raises:
        DamagedFile: a page of these columns is damaged.
    """
    try:
        with open_binary(file.uri) as raw:
            opened = pq.ParquetFile(raw)
            keep = [name for name in plain_columns(opened.schema_arrow) if name != exclude]
            if not keep:
                yield from ({} for _ in range(opened.metadata.num_rows))
                return
            for batch in opened.iter_batches(_BATCH, columns=keep, use_threads=False):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())[:200]
        raise DamagedFile(f"{file.uri} is damaged: {text}") from None


def plain_columns(schema: pa.Schema) -> list[str]:
    """Return the columns without bytes, and without pandas' own index."""
    return [
        f.name
        for f in schema
        if not _holds_bytes(f.type) and not f.name.startswith("__index_level_")
    ]


def class_names(schema: pa.Schema, column: str | None) -> list[str] | None:
    """Return the names behind a Hugging Face ClassLabel column; None if it is none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
    return bool(_is_bytes(kind) or pa.types.is_fixed_size_binary(kind))
