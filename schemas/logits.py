"""Columns that results about classes share. A logit is a cosine: no logit scale is applied."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.relations import Column

CLASSIFIER: Final = Column("classifier", "VARCHAR", "Zero-shot classifier: a result's name.")
CLASS: Final = field("class", pa.int32(), "Number of the class within its classifier, from 0.")
IMAGE_ID: Final = field("image_id", pa.int64(), "The picture, as in images.")
LOGIT: Final = field(
    "logit", pa.float32(), "Cosine of the picture's embedding and the class weight."
)
TRUTH: Final = field(
    "truth",
    pa.bool_(),
    "Whether this is the picture's own class; NULL where its label is no class of this classifier.",
    null=True,
)


def floats(name: str, comment: str) -> pa.Field:
    """Return a column of lists of float32."""
    return field(name, pa.list_(pa.field("element", pa.float32(), nullable=False)), comment)
