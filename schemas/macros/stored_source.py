"""The view that holds a head."""

from typing import Final

from schemas.relations import ANY_SCAN_P, HEAD_OR_NULL_P, LAYER_P, Macro, Parameter

MACRO: Final = Macro(
    "stored_source",
    "The view of by_layer that holds a head; the one of no rows if unit_vectors holds it.",
    (
        LAYER_P,
        HEAD_OR_NULL_P,
        ANY_SCAN_P,
        Parameter("centred", "Whether the head's mean is subtracted."),
    ),
    (),
    "SELECT stored_source('L4H1', NULL, 'demo', true)",
)
