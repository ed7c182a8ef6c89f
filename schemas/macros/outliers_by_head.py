"""The pictures that are least like the rest by one head."""

from typing import Final

from schemas.files import images_schema
from schemas.relations import HEAD_P, K_P, LAYER_P, SCAN, SCAN_P, Column, Macro, columns_of

_IMAGES: Final = images_schema(1)

MACRO: Final = Macro(
    "outliers_by_head",
    "The pictures least like the rest in what a head writes: the largest Mahalanobis distances "
    "from its mean first. Layer, head and scan are constants, parameters or getvariable('v').",
    (LAYER_P, HEAD_P, K_P, SCAN_P),
    (
        Column("rank", "BIGINT", "Rank, from 0; ties by image_id."),
        *columns_of(_IMAGES, "key", "image_id"),
        Column(
            "distance",
            "DOUBLE",
            "Length of vector - mean with each principal direction scaled to unit variance; its "
            "square is on average the number of rows of head_directions.",
        ),
        *columns_of(_IMAGES, "label", "uri"),
        SCAN,
    ),
    "SELECT rank, key, distance FROM outliers_by_head('L4H1', k := 5)",
    order=("rank",),
)
