"""What every head reads of every earlier component: head_edges/head_edges.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of

HEAD_EDGES: Final = "head_edges"


def head_edges_schema() -> pa.Schema:
    """Return the schema of `head_edges/head_edges.parquet`: a row per source and head."""
    return pa.schema(
        [
            field(
                "src_kind",
                pa.string(),
                "head, mlp, bias (of a layer's attention), init (the tokens that enter), or const.",
            ),
            field("src_layer", pa.int16(), "Layer of the source; NULL for init, const.", null=True),
            field("src_head", pa.int16(), "Head of the source; NULL for the others.", null=True),
            field("layer", pa.int16(), "Layer of the head that reads."),
            field("head", pa.int16(), "Head that reads, within its layer."),
            field("n", pa.int64(), "Pictures counted."),
            field(
                "share",
                pa.float64(),
                "Share of the head's variance at the tokens read that comes from the source, "
                "attention and LayerNorm scales as they are; those of a head sum to 1, and may be "
                "negative; NULL where the head does not vary.",
                null=True,
            ),
        ]
    )


KIND: Final = Kind(
    HEAD_EDGES,
    head_edges_schema(),
    (
        Table(
            "head_edges",
            "table",
            "One row per head and earlier component that it reads from the residual stream.",
            (SCAN, *columns_of(head_edges_schema()), SNAPSHOT, STALE),
            "SELECT src_layer, src_head, share FROM head_edges WHERE layer = 4 AND head = 1 "
            "AND src_kind = 'head' ORDER BY share DESC LIMIT 5",
        ),
    ),
    command="edges",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.LABELS, Part.OPTIONS),
)
