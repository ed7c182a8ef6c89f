"""Sums over pictures as a table: of any parts, by what is summed and the layer."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import pyarrow as pa

from schemas.files import sums_schema

W = TypeVar("W", bound=str)


def sums_table(count: int, sums: Mapping[tuple[W, int], np.ndarray]) -> pa.Table:
    """Return sums over `count` pictures as a table, a row for each (what, layer)."""
    rows = [
        {
            "what": what,
            "layer": layer,
            "count": count,
            "shape": list(value.shape),
            "sums": value.reshape(-1),
        }
        for (what, layer), value in sums.items()
    ]
    return pa.Table.from_pylist(rows, schema=sums_schema())


def sums_of(table: pa.Table) -> tuple[int, dict[tuple[str, int], np.ndarray]]:
    """Return what `sums_table` was made from; without rows, the sums of no picture."""
    rows = table.to_pylist()
    sums = {
        (row["what"], row["layer"]): np.array(row["sums"], np.float64).reshape(row["shape"])
        for row in rows
    }
    return rows[0]["count"] if rows else 0, sums
