"""Each head's merged moments, summarised: heads/heads.parquet, after a scan's commit."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of

HEADS: Final = "heads"
_LAYER = field("layer", pa.int16(), "Layer of the image encoder, from 0.")
_HEAD = field("head", pa.int16(), "Head within the layer, from 0.")


def heads_schema() -> pa.Schema:
    """Return the schema: each head's merged moments, summarised."""
    floats = pa.list_(pa.field("element", pa.float32(), nullable=False))
    return pa.schema(
        [
            _LAYER,
            _HEAD,
            field("name", pa.string(), "Name of the head, as L22H11."),
            field("n", pa.int64(), "Pictures counted."),
            field("mean", floats, "Mean of vector over the pictures, in the head frame."),
            field("mean_norm", pa.float64(), "Length of that mean."),
            field("variance", pa.float64(), "Total variance of vector over the pictures."),
            field(
                "variance_share",
                pa.float64(),
                "Share of the output's variance: <c - mean(c), e - mean(e)> / var(e), averaged.",
            ),
            field(
                "effective_rank",
                pa.float64(),
                "Directions in use: exp of the entropy of the covariance's eigenvalues; NULL for "
                "trunk heads behind a pool, whose covariance is not kept.",
                null=True,
            ),
        ]
    )


KIND: Final = Kind(
    HEADS,
    heads_schema(),
    (
        Table(
            "heads",
            "table",
            "One row per stored head of a scan: its moments over all pictures, summarised.",
            (SCAN, *columns_of(heads_schema()), SNAPSHOT, STALE),
            "SELECT name, variance_share FROM heads ORDER BY variance_share DESC LIMIT 10",
        ),
    ),
    command="scan",
    stands_on=(Part.CONFIGURATION, Part.PICTURES),
)
