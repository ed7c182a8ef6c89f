"""Reading shards back: one head, one layer at a time, images, moments, rejects.

Readers take shard names from a snapshot and need no lock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Float16, Int64

from schemas.errors import CorruptStore, UnknownName
from schemas.files import (
    CONTRIBUTIONS,
    IMAGES,
    MOMENTS,
    REJECTS,
    images_schema,
    rejects_schema,
)
from warehouse.files.layout import ScanDir
from warehouse.store.shards import contributions_path, mlp_path


@dataclass(frozen=True)
class LayerBlock:
    """One layer of one shard.

    Attributes:
        shard: its name.
        layer: 0-based.
        image_id: the shard's pictures, ascending.
        vectors: their contributions, in the head frames.
    """

    shard: str
    layer: int
    image_id: Int64[np.ndarray, " image"]
    vectors: Float16[np.ndarray, "head image d_head"]


def read_head(
    scan: ScanDir, shards: Sequence[str], layer: int, head: int
) -> tuple[Int64[np.ndarray, " image"], Float16[np.ndarray, "image d_head"]]:
    """Read one head of all pictures, shard by shard; only that head's row groups are read.

    Shards without pictures are passed over; with none left the result has no rows and d_head 0.

    Raises:
        UnknownName: the scan does not store that layer or head.
        CorruptStore: a file is not in the layout of contributions.parquet.
    """
    ids: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    for shard in shards:
        path = _layer_file(scan, shard, layer)
        if path is None:
            continue
        with pq.ParquetFile(path) as file:
            if not 0 <= head < file.num_row_groups:
                known = [str(h) for h in range(file.num_row_groups)]
                raise UnknownName.among(f"head in layer {layer}", head, known)
            _expect_head(file, head, path)
            table = file.read_row_group(head, columns=["image_id", "vector"])
        ids.append(table["image_id"].to_numpy())
        rows.append(matrix(table["vector"]))
    if not ids:
        return np.empty(0, np.int64), np.empty((0, 0), np.float16)
    return np.concatenate(ids), np.concatenate(rows)


def stored_heads(scan: ScanDir, shard: str, layer: int) -> int:
    """Return how many heads of a layer a shard stores.

    Raises:
        UnknownName: the scan does not store that layer.
    """
    path = _layer_file(scan, shard, layer)
    return 0 if path is None else int(pq.read_metadata(path).num_row_groups)


def iterate_layer(scan: ScanDir, shards: Sequence[str], layer: int) -> Iterator[LayerBlock]:
    """Read one layer with all its heads, one shard in memory at a time.

    Raises:
        UnknownName: the scan does not store that layer.
        CorruptStore: a file is not in the layout of contributions.parquet.
    """
    for shard in shards:
        if _layer_file(scan, shard, layer) is not None:
            yield read_layer(scan, shard, layer)


def read_layer(scan: ScanDir, shard: str, layer: int) -> LayerBlock:
    """Read one layer of one shard, all heads.

    Raises:
        CorruptStore: the file is absent, or not one row group per head with the same pictures.
    """
    path = scan.shard(shard) / contributions_path(layer)
    if not path.is_file():
        raise CorruptStore(f"{path} is missing; expected layer {layer} of the shard")
    with pq.ParquetFile(path) as file:
        for head in range(file.num_row_groups):
            _expect_head(file, head, path)
        n_heads = file.num_row_groups
        table = file.read(columns=["image_id", "vector"])
    ids = table["image_id"].to_numpy()
    flat = matrix(table["vector"])
    if not n_heads or len(ids) % n_heads:
        raise CorruptStore(f"{path}: {len(ids)} rows in {n_heads} row groups; expected one a head")
    count = len(ids) // n_heads
    return LayerBlock(shard, layer, ids[:count], flat.reshape(n_heads, count, flat.shape[1]))


def read_mlp(scan: ScanDir, shard: str, layer: int) -> Float16[np.ndarray, "image d_joint"]:
    """Read one layer's MLP contributions of one shard, in the order of its images."""
    table = read_file(scan.shard(shard) / mlp_path(layer), ["vector"])
    return matrix(table["vector"])


def read_images(
    scan: ScanDir, shards: Sequence[str], columns: Sequence[str] | None = None
) -> pa.Table:
    """Read the image rows of some shards, in their order, all columns or those named."""
    wanted = None if columns is None else list(columns)
    tables = [read_file(scan.shard(s) / IMAGES, wanted) for s in shards]
    if tables:
        return pa.concat_tables(tables)
    empty = images_schema(scan.load_record().model.d_joint).empty_table()
    return empty if wanted is None else empty.select(wanted)


def iterate_moments(scan: ScanDir, shards: Sequence[str]) -> Iterator[pa.Table]:
    """Yield each shard's moments, one table in memory at a time.

    13 MB a shard for 384 heads of width 64.
    """
    for shard in shards:
        yield read_file(scan.shard(shard) / MOMENTS)


def read_rejects(scan: ScanDir, shards: Sequence[str]) -> pa.Table:
    """Read the pictures that could not be used, over some shards."""
    tables = [read_file(scan.shard(s) / REJECTS) for s in shards]
    return pa.concat_tables(tables) if tables else rejects_schema().empty_table()


def read_file(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one file of a shard, all columns or those named.

    Raises:
        CorruptStore: it is absent, or is not the Parquet file that was written.
    """
    try:
        # for files of a few rows a third of what `pq.read_table` takes
        with pq.ParquetFile(path) as file:
            if columns is None:
                return file.read()
            if missing := set(columns) - set(file.schema_arrow.names):
                raise OSError(f"it has no column {', '.join(sorted(missing))}")
            return file.read(columns=list(columns)).select(list(columns))
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CorruptStore(f"{path} cannot be read: {reason}; run headatlas verify") from None


def matrix(column: pa.ChunkedArray) -> Float[np.ndarray, "row width"]:
    """Return a column of fixed-size lists of floats as one array."""
    width = column.type.list_size
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, np.float16)])
    return flat.reshape(-1, width)


def _layer_file(scan: ScanDir, shard: str, layer: int) -> Path | None:
    """Return a layer's file; None for a shard without pictures, which has no layers."""
    folder = scan.shard(shard)
    path = folder / contributions_path(layer)
    if path.is_file():
        return path
    stored = folder.glob(f"layer=*/{CONTRIBUTIONS}")
    known = [p.parent.name.removeprefix("layer=") for p in stored]
    if known:
        raise UnknownName.among(f"layer stored in scan {scan.name!r}", layer, known)
    if not folder.is_dir():
        raise CorruptStore(f"{folder} is missing; run `headatlas verify`")
    return None


def _expect_head(file: pq.ParquetFile, head: int, path: Path) -> None:
    """Check by its statistics that row group `head` holds that head alone."""
    found = head_of(file, head)
    if found != head:
        raise CorruptStore(
            f"{path}: row group {head} holds head {found}; expected one row group per head, in "
            "order"
        )


def head_of(file: pq.ParquetFile, group: int) -> int | None:
    """Return the one head that a row group's statistics name; None when there is not just one."""
    return single_value(file, group, "head")


def single_value(file: pq.ParquetFile, group: int, column: str) -> int | None:
    """Return the one value of a column that a row group's statistics allow, or None."""
    metadata = file.metadata.row_group(group)
    index = file.schema_arrow.get_field_index(column)
    statistics = metadata.column(index).statistics if index >= 0 else None
    if statistics is None or not statistics.has_min_max or statistics.min != statistics.max:
        return None
    return int(statistics.min)
