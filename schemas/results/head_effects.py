"""What every head does to the embedding, directly and in total: head_effects/NAME.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of

HEAD_EFFECTS: Final = "head_effects"
TARGET: Final = field(
    "target", pa.string(), "Class, compared with the mean of the others; or text."
)
EFFECTS_OF: Final = Column(
    "classifier", "VARCHAR", "Whose classes the targets are, or the file of texts."
)
STANDS_ON: Final = (Part.CONFIGURATION, Part.PICTURES, Part.LABELS, Part.OPTIONS)


def _number(name: str, comment: str) -> pa.Field:
    return field(name, pa.float64(), comment, null=True)


def head_effects_schema() -> pa.Schema:
    """Return the schema of `head_effects/NAME.parquet`: a row per target and head."""
    return pa.schema(
        [
            TARGET,
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("name", pa.string(), "Name of the head, as L22H11."),
            field("n", pa.int64(), "Pictures on which direct is measured."),
            field("n_total", pa.int64(), "Pictures on which total is measured."),
            field("n_atp", pa.int64(), "Pictures on which atp is measured."),
            _number(
                "direct",
                "Mean over pictures of w · Q(v - mean v), the last LayerNorm's scale and the norm "
                "frozen. In units of cosine, as all effects; near 0 over the pictures of the mean.",
            ),
            _number(
                "total",
                "Mean of what the cosine with the target loses when the head's output at every "
                "token is replaced by that token's mean, and the model runs on.",
            ),
            _number(
                "class_only",
                "The same, replaced at the tokens that the read-out reads alone; over the pictures "
                "that have both total and atp.",
            ),
            _number("atp", "Mean of what gradients say of total."),
            _number("abs_direct", "Mean of |direct|: how much of it there is in a picture."),
            _number("abs_total", "Mean of |total|."),
            _number("abs_atp", "Mean of |atp|."),
            _number("se_total", "Standard error of total."),
            _number(
                "repair",
                "1 - the slope of total on direct over pictures: the share of the direct effect "
                "that later layers undo; below 0, they add to it.",
            ),
            _number("atp_r", "Correlation of atp with total over the pictures that have both."),
        ]
    )


KIND: Final = Kind(
    HEAD_EFFECTS,
    head_effects_schema(),
    (
        Table(
            "head_effects",
            "table",
            "One row per target and head of a run of effects. What a head writes itself is direct; "
            "total is what the picture loses without it, the work of later layers included.",
            (SCAN, EFFECTS_OF, *columns_of(head_effects_schema()), SNAPSHOT, STALE),
            "SELECT name, avg(abs_direct) AS direct, avg(abs_total) AS total FROM head_effects "
            "GROUP BY name ORDER BY total DESC LIMIT 5",
        ),
    ),
    command="effects",
    stands_on=STANDS_ON,
    may_stand_on=(Part.CLASSIFIER,),
    named="classifier",
)
