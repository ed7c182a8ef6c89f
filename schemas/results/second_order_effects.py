"""What every head writes through later heads: second_order_effects/second_order_effects.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of

SECOND_ORDER_EFFECTS: Final = "second_order_effects"


def second_order_effects_schema() -> pa.Schema:
    """Return the schema of `second_order_effects/second_order_effects.parquet`: a row per head."""
    return pa.schema(
        [
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("name", pa.string(), "Name of the head, as L22H11."),
            field("n", pa.int64(), "Pictures counted."),
            field(
                "share",
                pa.float64(),
                "Share of the embedding's variance that the head writes through the values of "
                "later heads, attention and LayerNorm scales as they are: its part of each of "
                "these, times T / (sigma norm), summed. Beside heads.variance_share, which is what "
                "it writes itself; NULL where the embedding does not vary.",
                null=True,
            ),
        ]
    )


KIND: Final = Kind(
    SECOND_ORDER_EFFECTS,
    second_order_effects_schema(),
    (
        Table(
            "second_order_effects",
            "table",
            "One row per head but those of the last layer, which no later head reads.",
            (SCAN, *columns_of(second_order_effects_schema()), SNAPSHOT, STALE),
            "SELECT s.name, s.share AS through_others, h.variance_share AS itself "
            "FROM second_order_effects AS s JOIN heads AS h USING (scan_id, layer, head) "
            "ORDER BY abs(s.share) DESC LIMIT 5",
        ),
    ),
    command="edges",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.LABELS, Part.OPTIONS),
)
