"""Columns that several kinds of results of the text tower share."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Part

TEXT_LAYER: Final = field("layer", pa.int16(), "Layer of the text tower, from 0.")
TEXT_HEAD: Final = field("head", pa.int16(), "Head within the layer, from 0.")
TEXT_NAME: Final = field("name", pa.string(), "Name of the head, as L5H0, in the text tower.")
DESCRIPTION_ID: Final = field("description_id", pa.int64(), "The text, within its pool.")
TEXT_STANDS_ON: Final = (Part.WEIGHTS, Part.POOL, Part.OPTIONS)
