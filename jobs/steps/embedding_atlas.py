"""A head's pictures as a table for the tool `embedding-atlas`: places, neighbours, thumbnails.

Places are along the head's first two principal directions, those of `head_directions`; neighbours
are by cosine of centred vectors, exact, a block of pictures at a time. Rows are numbered as the
tool numbers them: from 0, in order.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from jobs import console
from jobs.steps.opened import Opened
from pipeline.heads.summary import principal_directions
from pipeline.pictures.decode import Decoding, Rejected, decode
from pipeline.sources.reader import Reader
from schemas.names import head_name
from warehouse.files.atomic import replacing
from warehouse.store.reading import read_head, read_images

NEIGHBOURS = 10
SIDE = 96
_ROWS = 1024
_COLUMNS = ["image_id", "key", "uri", "label", "metadata", "fingerprint"]


def write_head(opened: Opened, layer: int, head: int, path: Path) -> int:
    """Write one row a picture; return their number.

    Columns: `x`, `y` (principal directions), `neighbors` (`ids` of rows, `distances` 1 - cosine),
    `image` (a thumbnail as `{bytes, path}`), key, label, metadata, `norm` of the head's centred
    vector. Opened by `embedding-atlas FILE --x x --y y --neighbors neighbors --image image`.

    Raises:
        UnknownName: the scan stores no such head.
    """
    _, vectors = read_head(opened.scan, opened.shards, layer, head)
    centred = vectors.astype(np.float32) - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    norm = np.linalg.norm(centred, axis=1)
    unit = centred / np.maximum(norm, 1e-12)[:, None]
    axes = principal_directions(opened.covariance(layer, head))[1][:2]
    # a head that varies along one direction alone lies on a line, y = 0
    places = np.zeros((len(centred), 2), np.float32)
    places[:, : len(axes)] = centred @ axes.T.astype(np.float32)
    done = 0
    with (
        console.progress(f"Exporting {head_name(layer, head)}", len(unit)) as advance,
        Reader() as reader,
        replacing(path) as aside,
        pq.ParquetWriter(aside, _SCHEMA, compression="zstd") as writer,
    ):
        for images in _blocks(opened):
            rows = slice(done, done + len(images))
            writer.write_table(_table(images, reader, unit, norm, places, rows))
            done = rows.stop
            advance(done)
    return done


_SCHEMA = pa.schema(
    [
        ("x", pa.float32()),
        ("y", pa.float32()),
        (
            "neighbors",
            pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))]),
        ),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("key", pa.string()),
        ("label", pa.string()),
        ("metadata", pa.string()),
        ("norm", pa.float32()),
    ]
)


def _blocks(opened: Opened) -> Iterator[pa.Table]:
    """Yield the pictures' rows, in the order of the head's vectors."""
    for shard in opened.shards:
        table = read_images(opened.scan, [shard], _COLUMNS)
        for start in range(0, len(table), _ROWS):
            yield table.slice(start, _ROWS)


def _table(
    images: pa.Table,
    reader: Reader,
    unit: Float[np.ndarray, "picture d"],
    norm: Float[np.ndarray, " picture"],
    places: Float[np.ndarray, "picture 2"],
    rows: slice,
) -> pa.Table:
    asked = range(rows.start, rows.stop)
    columns: dict[str, Any] = {
        "x": places[rows, 0],
        "y": places[rows, 1],
        "neighbors": neighbours(unit, rows),
        "image": [
            {"bytes": _thumbnail(reader, row), "path": row["key"]} for row in images.to_pylist()
        ],
        "key": images["key"].combine_chunks(),
        "label": images["label"].combine_chunks(),
        "metadata": images["metadata"].combine_chunks(),
        "norm": norm[asked.start : asked.stop],
    }
    arrays = [
        c if isinstance(c, pa.Array) else pa.array(c, _SCHEMA.field(n).type)
        for n, c in columns.items()
    ]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def neighbours(unit: Float[np.ndarray, "picture d"], rows: slice) -> list[dict[str, list[Any]]]:
    """Return the rows nearest to each of `rows`, by cosine, itself left out; ties by row."""
    cosines = unit[rows] @ unit.T
    at = np.arange(rows.start, rows.stop)
    cosines[np.arange(len(at)), at] = -np.inf
    most = min(NEIGHBOURS, len(unit) - 1)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :most]
    nearest = np.take_along_axis(cosines, order, axis=1)
    return [
        {"ids": ids.tolist(), "distances": (1 - values).tolist()}
        for ids, values in zip(order, nearest, strict=True)
    ]


def _thumbnail(reader: Reader, row: dict[str, Any]) -> bytes | None:
    """Return a picture as a small JPEG; None where it is gone."""
    try:
        data = reader.reread(row["key"], row["uri"], row["fingerprint"])
        picture = decode(data, Decoding(on_white=True))
    except Rejected:
        return None
    picture.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=85)
    return stream.getvalue()
