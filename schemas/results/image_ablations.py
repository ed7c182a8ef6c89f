"""What is predicted of pictures without some components: image_ablations/NAME.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.logits import IMAGE_ID
from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of

IMAGE_ABLATIONS: Final = "image_ablations"
ABLATION: Final = Column("ablation", "VARCHAR", "A run of headatlas ablate --total, by its name.")


def image_ablations_schema() -> pa.Schema:
    """Return the schema of `image_ablations/NAME.parquet`: a row per picture and case."""
    return pa.schema(
        [
            IMAGE_ID,
            field(
                "replaced",
                pa.string(),
                "What is replaced: nothing, heads, mlps, cls (what the class token reads of "
                "itself), joint (all of these that were asked for), or random: as many random "
                "heads of each layer.",
            ),
            field("draw", pa.int16(), "Number of the random set, from 0; NULL else.", null=True),
            field("class", pa.int32(), "The picture's own class, as in classifiers."),
            field(
                "direct",
                pa.int32(),
                "Class predicted when the components' own contributions are replaced, the last "
                "LayerNorm's scale and the norm frozen: what SQL's ablate says.",
            ),
            field("total", pa.int32(), "Class predicted when the model runs on without them."),
        ]
    )


KIND: Final = Kind(
    IMAGE_ABLATIONS,
    image_ablations_schema(),
    (
        Table(
            "image_ablations",
            "table",
            "One row per picture and case of an ablation in which the model was run.",
            (SCAN, ABLATION, *columns_of(image_ablations_schema()), SNAPSHOT, STALE),
            "SELECT ablation, replaced, avg((total = class)::INTEGER) AS accuracy, "
            "avg((direct = class)::INTEGER) AS predicted FROM image_ablations "
            "GROUP BY ablation, replaced ORDER BY ablation, accuracy",
        ),
    ),
    command="ablate",
    stands_on=(
        *(Part.CONFIGURATION, Part.PICTURES, Part.LABELS),
        *(Part.CLASSIFIER, Part.OPTIONS),
    ),
    named="ablation",
)
