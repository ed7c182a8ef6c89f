"""Predictions with chosen heads mean-ablated."""

from typing import Final

from schemas.files import images_schema
from schemas.relations import CLASSIFIER_P, HEADS_P, SCAN, SCAN_P, Column, Macro, columns_of

ABLATED: Final = (
    *columns_of(images_schema(1), "image_id", "key", "label"),
    Column("truth", "VARCHAR", "Name of the picture's own class; NULL where it has none."),
    Column("before", "VARCHAR", "Class predicted with nothing ablated."),
    Column("after", "VARCHAR", "Class predicted with the heads mean-ablated."),
    Column("correct_before", "BOOLEAN", "Whether `before` is right; NULL without truth."),
    Column("correct_after", "BOOLEAN", "Whether `after` is right; NULL without truth."),
    Column("logit_before", "FLOAT", "Cosine with the class predicted before."),
    Column("logit_after", "FLOAT", "The same after; the embedding is not made unit-norm again."),
    SCAN,
)

MACRO: Final = Macro(
    "ablate",
    "Predictions with a set of heads replaced by their means over all pictures of the scan; "
    "sigma and norm stay as they are.",
    (
        CLASSIFIER_P,
        HEADS_P,
        SCAN_P,
    ),
    ABLATED,
    "SELECT key, before, after FROM ablate('kinds', ['L4H1', 'L5H4']) WHERE before <> after",
)
