"""The texts that span heads, as a table: of image heads and of text heads alike."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from pipeline.heads.textspan import Basis
from warehouse.store.pools import Pool


def span_table(
    basis: Basis, heads: Sequence[tuple[int, int]], pool: Pool, schema: pa.Schema
) -> pa.Table:
    """Return a basis as rows: one per head and pick, with the columns that `schema` names."""
    chosen = basis.picks >= 0
    at, rank = np.nonzero(chosen)
    picks = basis.picks[chosen].tolist()
    layer, head = np.array(heads, np.int16).reshape(-1, 2)[at].T
    columns: dict[str, Any] = {
        "layer": layer,
        "head": head,
        "rank": rank,
        "description_id": picks,
        "text": [pool.texts[pick] for pick in picks],
        "property": [pool.properties[pick] for pick in picks],
        "variance": basis.variance[chosen],
        "explained": basis.explained[chosen],
        "cumulative": basis.cumulative[chosen],
        "pca_cumulative": basis.pca_cumulative[chosen],
    }
    if "vector" in schema.names:
        columns["vector"] = _vectors(basis, chosen, schema.field("vector").type)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _vectors(
    basis: Basis, chosen: Bool[np.ndarray, "head rank"], kind: pa.DataType
) -> pa.ListArray:
    kept = [v[c].astype(np.float32) for v, c in zip(basis.vectors, chosen, strict=True)]
    widths = np.repeat([v.shape[1] for v in kept], [len(v) for v in kept])
    ends = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    flat = np.concatenate([np.empty(0, np.float32), *(v.ravel() for v in kept)])
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat), type=kind)
