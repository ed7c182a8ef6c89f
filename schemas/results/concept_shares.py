"""How much of each head the texts of one property alone explain: concept_shares/POOL.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import POOL, SCAN, SNAPSHOT, STALE, Table, columns_of

CONCEPT_SHARES: Final = "concept_shares"


def concept_shares_schema() -> pa.Schema:
    """Return the schema of `concept_shares/POOL.parquet`: a row per head and property."""
    return pa.schema(
        [
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("property", pa.string(), "Property: the texts of the pool that are about it."),
            field("texts", pa.int16(), "Texts used: as many as asked for, or as there are."),
            field(
                "share",
                pa.float64(),
                "Share of the head's variance that the best so many of these texts explain.",
            ),
            field(
                "others",
                pa.float64(),
                "The same of a head of its layer drawn at random: the mean over the layer's other "
                "heads; NULL for the only one.",
                null=True,
            ),
            field("ceiling", pa.float64(), "Explained by as many principal directions."),
        ]
    )


KIND: Final = Kind(
    CONCEPT_SHARES,
    concept_shares_schema(),
    (
        Table(
            "concept_shares",
            "table",
            "One row per head and property of a pool: how much of what the head writes the texts "
            "about that property explain, beside the other heads of its layer.",
            (SCAN, POOL, *columns_of(concept_shares_schema()), SNAPSHOT, STALE),
            "SELECT property, layer, head, share, others FROM concept_shares "
            "ORDER BY share - others DESC LIMIT 5",
        ),
    ),
    command="concepts",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.POOL, Part.OPTIONS),
    named="pool",
)
