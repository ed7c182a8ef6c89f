"""`head_covariances`: each head's covariance, a row a direction, from the merged moments."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.database.sqltext import load


def load_covariances(con: duckdb.DuckDBPyConnection, scan: str, moments: Path) -> None:
    """Fill the table from a file of moments; heads with a trace alone are left out."""
    table = pq.read_table(moments, partitioning=None)
    rows = table.filter(pc.equal(table["component"], "head"))
    scalars = [rows[name].to_pylist() for name in ("layer", "head", "n")]
    heads = [
        (layer, head, m2.values.to_numpy().reshape(len(mean), -1) / n)
        for layer, head, n, mean, m2 in zip(*scalars, rows["mean"], rows["m2"], strict=True)
        if n and len(m2) == len(mean) ** 2
    ]
    widths = [len(covariance) for _, _, covariance in heads]
    ends = np.cumsum([0, *np.repeat(widths, widths)])
    flat = np.concatenate([np.empty(0), *(covariance.ravel() for _, _, covariance in heads)])
    columns = {
        "layer": np.repeat([layer for layer, _, _ in heads], widths),
        "head": np.repeat([head for _, head, _ in heads], widths),
        "direction": np.concatenate([np.empty(0), *map(np.arange, widths)]),
        "covariance": pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), pa.array(flat, pa.float32(), safe=False)
        ),
    }
    con.register("covariances", pa.table(columns))
    con.execute(load("load/head_covariances"), {"scan": scan})
    con.unregister("covariances")
