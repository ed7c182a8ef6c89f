"""The cosine of pictures with their texts by image head and text head: head_pairs/NAME.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of

HEAD_PAIRS: Final = "head_pairs"
PAIRING: Final = Column(
    "pairing", "VARCHAR", "Name of the pairing; by default the column that the texts are in."
)


def _component(side: str, kinds: str) -> list[pa.Field]:
    what = f"of the {side}'s component, from 0; NULL where it has none."
    return [
        field(f"{side}_kind", pa.string(), kinds),
        field(f"{side}_layer", pa.int16(), f"Layer {what}", null=True),
        field(f"{side}_head", pa.int16(), f"Head {what}", null=True),
    ]


def head_pairs_schema() -> pa.Schema:
    """Return the schema of `head_pairs/NAME.parquet`: a row per component of both sides."""
    return pa.schema(
        [
            *_component(
                "image",
                "head; mlp, where stored; bias, pool_bias; const; rest: what is not stored of the "
                "picture's embedding, and rounding.",
            ),
            *_component(
                "text",
                "head, mlp, bias, init (the token read, as it enters), const; rest: heads of other "
                "layers, and rounding.",
            ),
            field("n", pa.int64(), "Pairs counted."),
            field(
                "mean",
                pa.float64(),
                "Mean over pairs of <c of the picture, c of its text>; all rows sum to the mean "
                "cosine.",
            ),
            field(
                "share",
                pa.float64(),
                "Share of the cosine's variance over pairs: covariance with the cosine over its "
                "variance. All rows sum to 1; NULL where the cosine does not vary.",
                null=True,
            ),
        ]
    )


KIND: Final = Kind(
    HEAD_PAIRS,
    head_pairs_schema(),
    (
        Table(
            "head_pairs",
            "table",
            "One row per component of the pictures and component of their texts: what the two "
            "together add to the cosine of a picture with its own text.",
            (SCAN, PAIRING, *columns_of(head_pairs_schema()), SNAPSHOT, STALE),
            "SELECT image_layer, image_head, text_layer, text_head, share FROM head_pairs "
            "WHERE image_kind = 'head' AND text_kind = 'head' ORDER BY share DESC LIMIT 5",
        ),
    ),
    command="pairs",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.LABELS, Part.OPTIONS),
    named="pairing",
)
