"""Each head of the text tower, summarised over a pool's texts: text_heads/POOL.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind
from schemas.relations import POOL, SCAN, STALE, Table, columns_of
from schemas.texts import TEXT_HEAD, TEXT_LAYER, TEXT_NAME, TEXT_STANDS_ON

TEXT_HEADS: Final = "text_heads"


def text_heads_schema() -> pa.Schema:
    """Return the schema of `text_heads/POOL.parquet`: one row per head."""
    floats = pa.list_(pa.field("element", pa.float32(), nullable=False))
    return pa.schema(
        [
            TEXT_LAYER,
            TEXT_HEAD,
            TEXT_NAME,
            field("n", pa.int64(), "Texts counted."),
            field("mean", floats, "Mean of vector over the texts, in the head's frame."),
            field("mean_norm", pa.float64(), "Length of that mean."),
            field("variance", pa.float64(), "Total variance of vector over the texts."),
            field(
                "variance_share",
                pa.float64(),
                "Share of the embedding's variance over the texts: <c - mean(c), e - mean(e)> / "
                "var(e), averaged.",
            ),
            field(
                "effective_rank",
                pa.float64(),
                "Directions in use: exp of the entropy of the covariance's eigenvalues.",
            ),
        ]
    )


KIND: Final = Kind(
    TEXT_HEADS,
    text_heads_schema(),
    (
        Table(
            "text_heads",
            "table",
            "One row per stored head of the text tower and pool of texts: its moments, summarised.",
            (SCAN, POOL, *columns_of(text_heads_schema()), STALE),
            "SELECT name, variance_share, effective_rank FROM text_heads "
            "ORDER BY variance_share DESC LIMIT 5",
        ),
    ),
    command="texts",
    stands_on=TEXT_STANDS_ON,
    named="pool",
)
