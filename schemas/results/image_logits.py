"""Every picture's logits: image_logits/CLASSIFIER.parquet."""

from typing import Final

import pyarrow as pa

from schemas.kinds import Kind, Part
from schemas.logits import CLASS, CLASSIFIER, IMAGE_ID, LOGIT, TRUTH
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of

IMAGE_LOGITS: Final = "image_logits"


def image_logits_schema() -> pa.Schema:
    """Return the schema of `image_logits/NAME.parquet`: one row per picture, class."""
    return pa.schema([IMAGE_ID, CLASS, LOGIT, TRUTH])


KIND: Final = Kind(
    IMAGE_LOGITS,
    image_logits_schema(),
    (
        Table(
            "image_logits",
            "table",
            "One row per picture and class.",
            (SCAN, CLASSIFIER, *columns_of(image_logits_schema()), SNAPSHOT, STALE),
            "SELECT image_id, arg_max(class, logit) AS predicted FROM image_logits "
            "WHERE classifier = 'kinds' GROUP BY image_id LIMIT 5",
        ),
    ),
    command="zeroshot",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.LABELS, Part.CLASSES, Part.OPTIONS),
    named="classifier",
)
