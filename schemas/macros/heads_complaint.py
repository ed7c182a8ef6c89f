"""What is wrong with a list of heads."""

from typing import Final

from schemas.relations import ANY_SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "heads_complaint",
    "What is wrong with a list of heads; NULL when all exist.",
    (
        Parameter("names", "Names of heads."),
        ANY_SCAN_P,
    ),
    (),
    "SELECT heads_complaint(['L2H1', 'L99H0'], 'demo')",
)
