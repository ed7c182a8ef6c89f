"""A direction of the joint space, in a head's frame."""

from typing import Final

from schemas.relations import ANY_SCAN_P, ASKED_HEAD_P, ASKED_LAYER_P, Macro, Parameter

MACRO: Final = Macro(
    "head_direction",
    "A direction of the joint space, as a text's embedding, in a head's frame: Q^T t. One that has "
    "the frame's width already stays as it is; NULL where the scan has no frame of that width.",
    (Parameter("vector", "The direction."), ASKED_LAYER_P, ASKED_HEAD_P, ANY_SCAN_P),
    (),
    "SELECT head_direction((SELECT any_value(embedding) FROM default_scan.description_vectors), "
    "'L4H1', NULL, 'demo')",
)
