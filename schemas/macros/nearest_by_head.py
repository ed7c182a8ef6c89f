"""Pictures alike by one head; the columns of every search by likeness."""

from typing import Final

from schemas.files import images_schema
from schemas.relations import (
    CENTRED_P,
    HEAD_P,
    K_P,
    LAYER_P,
    SCAN,
    SCAN_P,
    Column,
    Macro,
    Parameter,
    columns_of,
)

_IMAGES: Final = images_schema(1)

NEIGHBOURS: Final = (
    Column("rank", "BIGINT", "Order, from 0: the highest score first; ties by image_id."),
    *columns_of(_IMAGES, "key", "image_id"),
    Column("score", "DOUBLE", "Cosine or dot product; higher is more alike."),
    *columns_of(_IMAGES, "label", "uri"),
    SCAN,
)

MACRO: Final = Macro(
    "nearest_by_head",
    "Pictures most alike to a given one by one head's contribution; that picture is left out. "
    "Layer, head, scan and centred are constants, parameters or getvariable('v'), no subquery.",
    (
        Parameter("key", "Key of the picture to start from."),
        LAYER_P,
        HEAD_P,
        K_P,
        SCAN_P,
        Parameter("metric", "'cosine', or 'dot'.", "'cosine'"),
        CENTRED_P,
    ),
    NEIGHBOURS,
    "SELECT rank, key, score FROM nearest_by_head('images/000003.png', 'L4H1', k := 5)",
    order=("rank",),
)
