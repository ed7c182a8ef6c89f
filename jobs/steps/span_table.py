"""The texts that span heads, as a table: of image heads and of text heads alike."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.heads.textspan import Basis
from warehouse.store.pools import Pool


def span_table(
    basis: Basis, heads: Sequence[tuple[int, int]], pool: Pool, schema: pa.Schema
) -> pa.Table:
    """Return a basis as rows: one per head and pick, with the columns that `schema` names."""
    cumulative = basis.cumulative
    rows = [
        {
            "layer": layer,
            "head": head,
            "rank": rank,
            "description_id": pick,
            "text": pool.texts[pick],
            "property": pool.properties[pick],
            "variance": float(basis.variance[i, rank]),
            "explained": float(basis.explained[i, rank]),
            "cumulative": float(cumulative[i, rank]),
            "pca_cumulative": float(basis.pca_cumulative[i, rank]),
            "vector": basis.vectors[i][rank].astype(np.float32),
        }
        for i, (layer, head) in enumerate(heads)
        for rank, pick in enumerate(basis.picks[i].tolist())
        if pick >= 0
    ]
    return pa.Table.from_pylist(rows, schema=schema)
