"""What is wrong with a TextSpan basis asked for."""

from typing import Final

from schemas.relations import ANY_SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "basis_complaint",
    "What is wrong with the TextSpan basis asked for; NULL when it exists.",
    (
        Parameter("basis", "Basis, or NULL for the scan's newest."),
        ANY_SCAN_P,
    ),
    (),
    "SELECT basis_complaint('no such basis', 'demo')",
)
