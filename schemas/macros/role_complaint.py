"""What is wrong with a role asked for."""

from typing import Final

from schemas.relations import ANY_SCAN_P, ASKED_BASIS_P, ASKED_ROLE_P, Macro

MACRO: Final = Macro(
    "role_complaint",
    "What is wrong with the role asked for; NULL when some head carries it.",
    (
        ASKED_ROLE_P,
        ANY_SCAN_P,
        ASKED_BASIS_P,
    ),
    (),
    "SELECT role_complaint('glow', 'demo', NULL)",
)
