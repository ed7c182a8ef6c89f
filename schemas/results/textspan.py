"""The texts that span each head: textspan/BASIS.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import BASIS, POOL, SCAN, SNAPSHOT, STALE, Table, columns_of

TEXTSPAN: Final = "textspan"
_LAYER = field("layer", pa.int16(), "Layer of the image encoder, from 0.")
_HEAD = field("head", pa.int16(), "Head within the layer, from 0.")


def textspan_schema() -> pa.Schema:
    """Return the schema of `textspan/BASIS/textspan.parquet`."""
    return pa.schema(
        [
            _LAYER,
            _HEAD,
            field("rank", pa.int16(), "Order in which the text was picked, from 0."),
            field("description_id", pa.int64(), "The description, within the basis' pool."),
            field("text", pa.string(), "The description's text."),
            field("property", pa.string(), "The description's property.", null=True),
            field("variance", pa.float64(), "Variance over pictures that this pick removes."),
            field("explained", pa.float64(), "The same as a share of the head's total variance."),
            field("cumulative", pa.float64(), "Explained by this and all earlier picks."),
            field(
                "pca_cumulative",
                pa.float64(),
                "Ceiling: explained by as many principal directions.",
            ),
            field(
                "vector",
                pa.list_(pa.field("element", pa.float32(), nullable=False)),
                "The text's unit embedding in the head frame, Q^T t, before deflation.",
            ),
        ]
    )


KIND: Final = Kind(
    TEXTSPAN,
    textspan_schema(),
    (
        Table(
            "textspan",
            "table",
            "One row per text picked for a head (the paper's Algorithm 1), in order.",
            (SCAN, BASIS, POOL, *columns_of(textspan_schema()), SNAPSHOT, STALE),
            "SELECT layer, head, text, explained FROM textspan WHERE rank = 0 "
            "ORDER BY explained DESC",
        ),
    ),
    command="textspan",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.POOL, Part.OPTIONS),
    # of a condition over images
    may_stand_on=(Part.LABELS,),
    named="basis",
    said=("pool",),
)
