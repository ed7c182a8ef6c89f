"""What is wrong with a question about the paths of a head."""

from typing import Final

from schemas.relations import ANY_SCAN_P, HEAD_OR_NULL_P, LAYER_P, Macro, Parameter

MACRO: Final = Macro(
    "edge_complaint",
    "What is wrong with a head, or a number of rows, whose paths are asked for; NULL when they are "
    "there.",
    (LAYER_P, HEAD_OR_NULL_P, Parameter("k", "Rows wanted."), ANY_SCAN_P),
    (),
    "SELECT edge_complaint('L9H9', NULL, 10, 'demo')",
)
