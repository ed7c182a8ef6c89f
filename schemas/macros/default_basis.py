"""The TextSpan basis that is asked when none is named."""

from typing import Final

from schemas.relations import ANY_SCAN_P, Macro

MACRO: Final = Macro(
    "default_basis",
    "A scan's newest TextSpan basis, which macros ask when none is named; NULL without any.",
    (ANY_SCAN_P,),
    (),
    "SELECT default_basis('demo')",
)
