"""What is wrong with a head of the text tower asked for."""

from typing import Final

from schemas.relations import ANY_SCAN_P, HEAD_OR_NULL_P, TEXT_LAYER_P, Macro, Parameter

MACRO: Final = Macro(
    "text_head_complaint",
    "What is wrong with the head of the text tower, or the pool, asked for; NULL when both exist.",
    (
        TEXT_LAYER_P,
        HEAD_OR_NULL_P,
        Parameter("pool", "Pool, or NULL for the one decomposed last."),
        ANY_SCAN_P,
    ),
    (),
    "SELECT text_head_complaint('L9H9', NULL, NULL, 'demo')",
)
