"""Heads that carry a spurious cue: spurious_heads/NAME.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of

SPURIOUS_HEADS: Final = "spurious_heads"


def spurious_heads_schema() -> pa.Schema:
    """Return the schema of `spurious_heads/NAME.parquet`: one row per stored head."""
    return pa.schema(
        [
            field("classifier", pa.string(), "The zero-shot classifier of the target."),
            field("target", pa.string(), "Column that the classifier is about."),
            field("attribute", pa.string(), "Column that ought not to matter."),
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("rank", pa.int32(), "Place in the order of scores, from 0."),
            field(
                "score",
                pa.float64(),
                "Variance of the head's logits between attribute values less between target "
                "classes, as a share of the logits' own variance; with --search margin-contrast, "
                "how often it most pushes a wrong picture of a group that fares worse, with "
                "attention-share its share of attention on written text.",
            ),
            field("about_attribute", pa.float64(), "Share of the head's variance by attribute."),
            field("about_target", pa.float64(), "Share of the head's variance by target."),
            field("chosen", pa.bool_(), "Whether the head is in the set chosen to switch off."),
            field(
                "step",
                pa.int32(),
                "When the greedy choice took it, from 0; NULL otherwise.",
                null=True,
            ),
        ]
    )


KIND: Final = Kind(
    SPURIOUS_HEADS,
    spurious_heads_schema(),
    (
        Table(
            "spurious_heads",
            "table",
            "One row per head of a search for spurious heads.",
            (
                SCAN,
                Column("name", "VARCHAR", "The search: a result's name."),
                *columns_of(spurious_heads_schema()),
                SNAPSHOT,
                STALE,
            ),
            "SELECT layer, head, score FROM spurious_heads WHERE chosen ORDER BY rank",
        ),
    ),
    command="spurious",
    stands_on=(
        Part.CONFIGURATION,
        Part.PICTURES,
        Part.LABELS,
        Part.CLASSIFIER,
        Part.OPTIONS,
    ),
    named="name",
    # format 2: heads are less their means over the select pictures, not over all
    format=2,
)
