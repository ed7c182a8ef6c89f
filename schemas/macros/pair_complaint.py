"""What is wrong with a question about pairs of heads."""

from typing import Final

from schemas.relations import ANY_SCAN_P, HEAD_OR_NULL_P, LAYER_P, Macro, Parameter

MACRO: Final = Macro(
    "pair_complaint",
    "What is wrong with a head, a number of rows or a pairing asked for; NULL when they are there.",
    (
        LAYER_P,
        HEAD_OR_NULL_P,
        Parameter("k", "Rows wanted."),
        Parameter("pairing", "Pairing, or NULL for the scan's newest."),
        ANY_SCAN_P,
    ),
    (),
    "SELECT pair_complaint('L9H9', NULL, 10, NULL, 'demo')",
)
