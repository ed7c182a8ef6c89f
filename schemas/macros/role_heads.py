"""The heads of a role."""

from typing import Final

from schemas.relations import ANY_SCAN_P, ASKED_BASIS_P, ASKED_ROLE_P, Macro

MACRO: Final = Macro(
    "role_heads",
    "Names of the heads that carry a role. Raises where none does.",
    (
        ASKED_ROLE_P,
        ANY_SCAN_P,
        ASKED_BASIS_P,
    ),
    (),
    "SELECT role_heads('colour', 'demo', NULL)",
)
