"""Sums over pictures that shards keep on request, and those of several shards."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from schemas.files import SUMS, sums_schema
from warehouse.files.layout import ScanDir
from warehouse.store.reading import read_file


def read_sums(scan: ScanDir, shards: Sequence[str], what: str) -> pa.Table | None:
    """Return the sums over all pictures of some shards, each of which has pictures.

    None where a shard does not keep them: it is of an older scan, or a copy of what was left of a
    shard when pictures vanished, whose sums without those are not known.
    """
    paths = [scan.shard(shard) / SUMS[what] for shard in shards]
    if not paths or not all(path.is_file() for path in paths):
        return None
    return merge_sums(read_file(path) for path in paths)


def merge_sums(tables: Iterable[pa.Table]) -> pa.Table:
    """Add up tables of `sums_schema` of disjoint sets of pictures."""
    count, shapes = 0, dict[tuple[str, int], list[int]]()
    sums: dict[tuple[str, int], np.ndarray] = {}
    for table in tables:
        rows = table.to_pylist()
        count += rows[0]["count"] if rows else 0
        for row in rows:
            key, value = (row["what"], row["layer"]), np.array(row["sums"], np.float64)
            sums[key] = sums[key] + value if key in sums else value
            shapes[key] = row["shape"]
    rows = [
        {"what": what, "layer": layer, "count": count, "shape": shapes[what, layer], "sums": value}
        for (what, layer), value in sums.items()
    ]
    return pa.Table.from_pylist(rows, schema=sums_schema())
