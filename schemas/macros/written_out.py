"""A number without its exponent."""

from typing import Final

from schemas.relations import Macro, Parameter

MACRO: Final = Macro(
    "written_out",
    "A number with an exponent, written without it.",
    (Parameter("number", "Text of a number with an exponent."),),
    (),
    "SELECT written_out('1.5e-03')",
)
