"""What every head does to single pictures' embeddings: image_head_effects/NAME.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.logits import IMAGE_ID
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of
from schemas.results.head_effects import EFFECTS_OF, STANDS_ON, TARGET

IMAGE_HEAD_EFFECTS: Final = "image_head_effects"


def image_head_effects_schema() -> pa.Schema:
    """Return the schema of `image_head_effects/NAME.parquet`: a row per picture, target, head."""
    return pa.schema(
        [
            IMAGE_ID,
            TARGET,
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("direct", pa.float32(), "w · Q(v - mean v), scale and norm frozen."),
            field("total", pa.float32(), "Loss of cosine without the head, the model run on."),
            field(
                "atp",
                pa.float32(),
                "What gradients say of total; NULL where they were not taken of the picture.",
                null=True,
            ),
        ]
    )


KIND: Final = Kind(
    IMAGE_HEAD_EFFECTS,
    image_head_effects_schema(),
    (
        Table(
            "image_head_effects",
            "table",
            "One row per picture, target and head, of the pictures that have a total.",
            (SCAN, EFFECTS_OF, *columns_of(image_head_effects_schema()), SNAPSHOT, STALE),
            "SELECT image_id, total, direct FROM image_head_effects "
            "WHERE layer = 1 AND head = 1 ORDER BY abs(total) DESC LIMIT 5",
        ),
    ),
    command="effects",
    stands_on=STANDS_ON,
    may_stand_on=(Part.CLASSIFIER,),
    named="classifier",
)
