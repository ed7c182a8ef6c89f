"""The head frames of a text tower, exactly: text_frames/text_frames.parquet.

They follow from the weights, and are computed once; no table shows them.
"""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.texts import TEXT_HEAD, TEXT_LAYER

TEXT_FRAMES: Final = "text_frames"


def text_frames_schema() -> pa.Schema:
    """Return the schema of `text_frames/text_frames.parquet`: one row per head."""
    doubles = pa.list_(pa.field("element", pa.float64(), nullable=False))
    return pa.schema(
        [
            TEXT_LAYER,
            TEXT_HEAD,
            field("q", doubles, "Q by rows, [d_joint, d_head]: c / norm = Q · vector."),
            field("r", doubles, "R by rows, [d_head, d_head]: T = Rᵀ Qᵀ."),
        ]
    )


KIND: Final = Kind(
    TEXT_FRAMES, text_frames_schema(), (), command="texts", stands_on=(Part.WEIGHTS,)
)
