"""Pictures spread evenly along a text."""

from typing import Final

from schemas.files import images_schema
from schemas.relations import (
    BASIS_P,
    HEAD_P,
    LAYER_P,
    SCAN,
    SCAN_P,
    Column,
    Macro,
    Parameter,
    columns_of,
)

_IMAGES: Final = images_schema(1)

MACRO: Final = Macro(
    "text_deciles",
    "One picture from the middle of each tenth of all pictures, from the least to the most along "
    "a text, by what one head writes. Layer, head and scan are constants, parameters or "
    "getvariable('v'), no subquery.",
    (
        Parameter(
            "text",
            "One of the head's texts, as head_texts shows it; or of any pool, as "
            "description_vectors does.",
        ),
        LAYER_P,
        HEAD_P,
        SCAN_P,
        BASIS_P,
    ),
    (
        Column("decile", "BIGINT", "Tenth of the pictures, from 0: those least along the text."),
        *columns_of(_IMAGES, "key", "image_id"),
        Column(
            "score",
            "DOUBLE",
            "What the head adds to the cosine of picture and text, beyond its mean.",
        ),
        *columns_of(_IMAGES, "label", "uri"),
        SCAN,
    ),
    "SELECT decile, key, score FROM text_deciles('a photo of a red thing', 'L4H1')",
    order=("decile",),
)
