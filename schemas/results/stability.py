"""How often picks survive when the pictures are drawn again: stability/BASIS.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of

STABILITY: Final = "stability"
_LAYER = field("layer", pa.int16(), "Layer of the image encoder, from 0.")
_HEAD = field("head", pa.int16(), "Head within the layer, from 0.")

_BASIS: Final = Column("basis", "VARCHAR", "TextSpan basis that this was found from.")


def stability_schema() -> pa.Schema:
    """Return the schema of `stability/BASIS.parquet`: one row per head and pick."""
    return pa.schema(
        [
            _LAYER,
            _HEAD,
            field("rank", pa.int16(), "Order in which the text was picked, from 0."),
            field("description_id", pa.int64(), "The description, within the basis' pool."),
            field(
                "survival",
                pa.float64(),
                "Share of bootstrap samples in which the text is picked among as many.",
            ),
        ]
    )


KIND: Final = Kind(
    STABILITY,
    stability_schema(),
    (
        Table(
            "textspan_stability",
            "table",
            "One row per pick of a basis: how often it survives when the pictures are drawn again.",
            (SCAN, _BASIS, *columns_of(stability_schema()), SNAPSHOT, STALE),
            "SELECT layer, head, avg(survival) AS survival FROM textspan_stability GROUP BY ALL "
            "ORDER BY survival LIMIT 10",
        ),
    ),
    command="roles build --bootstrap",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.BASIS, Part.OPTIONS),
    named="basis",
)
