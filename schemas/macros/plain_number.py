"""The shortest spelling of a number."""

from typing import Final

from schemas.relations import Macro, Parameter

MACRO: Final = Macro(
    "plain_number",
    "A number without exponent, without zeros that say nothing.",
    (Parameter("number", "Text of a number without exponent."),),
    (),
    "SELECT plain_number('-01.50')",
)
