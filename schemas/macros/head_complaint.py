"""What is wrong with a head asked for."""

from typing import Final

from schemas.relations import ANY_SCAN_P, HEAD_OR_NULL_P, LAYER_P, Macro

MACRO: Final = Macro(
    "head_complaint",
    "What is wrong with the scan or head asked for; NULL when both exist.",
    (
        LAYER_P,
        HEAD_OR_NULL_P,
        ANY_SCAN_P,
    ),
    (),
    "SELECT head_complaint('L2H1', NULL, 'no such scan')",
)
