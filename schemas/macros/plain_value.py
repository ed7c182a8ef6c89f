"""One spelling of a value."""

from typing import Final

from schemas.relations import Macro, Parameter

MACRO: Final = Macro(
    "plain_value",
    "A value of a picture in one spelling, so that 1, 1.0 and '1.0' are alike, and True and true; "
    "'007' is a text and stays. NULL where it is blank.",
    (Parameter("value", "Text."),),
    (),
    "SELECT plain_value('1.0'), plain_value('007'), plain_value('True')",
)
