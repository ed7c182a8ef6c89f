"""How alike the heads of a scan are: head_similarity/head_similarity.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of

HEAD_SIMILARITY: Final = "head_similarity"


def head_similarity_schema() -> pa.Schema:
    """Return the schema of `head_similarity.parquet`: each pair of heads, both ways round."""
    return pa.schema(
        [
            field("layer", pa.int16(), "Layer of the head, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("other_layer", pa.int16(), "Layer of the other head."),
            field("other_head", pa.int16(), "The other head, within its layer."),
            field("n", pa.int64(), "Pictures counted."),
            field(
                "cka",
                pa.float64(),
                "Linear CKA of what both write over the same pictures: 1, one is the other turned "
                "and scaled; 0, uncorrelated; NULL where one does not vary.",
                null=True,
            ),
        ]
    )


KIND: Final = Kind(
    HEAD_SIMILARITY,
    head_similarity_schema(),
    (
        Table(
            "head_similarity",
            "table",
            "One row per head and other head of a scan: how alike they are over its pictures.",
            (SCAN, *columns_of(head_similarity_schema()), SNAPSHOT, STALE),
            "SELECT layer, head, other_layer, other_head, cka FROM head_similarity "
            "ORDER BY cka DESC NULLS LAST LIMIT 5",
        ),
    ),
    command="similarity",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.OPTIONS),
)
