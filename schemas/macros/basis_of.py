"""The basis that a question is about."""

from typing import Final

from schemas.relations import ANY_SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "basis_of",
    "The TextSpan basis asked for: the one named, or else the scan's newest; NULL where it has "
    "none. Raises where the one named is not there.",
    (
        Parameter("basis", "Basis, or NULL."),
        ANY_SCAN_P,
    ),
    (),
    "SELECT scan_id, basis_of(NULL, scan_id) FROM scans",
)
