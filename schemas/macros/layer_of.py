"""Layer of a head, however it is named."""

from typing import Final

from schemas.relations import HEAD_OR_NULL_P, LAYER_P, Macro

MACRO: Final = Macro(
    "layer_of",
    "Layer of a head given as name, in either case, or as layer and head; -1 where neither.",
    (
        LAYER_P,
        HEAD_OR_NULL_P,
    ),
    (),
    "SELECT layer_of('L22H11', NULL)",
)
