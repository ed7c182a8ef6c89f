"""The view that holds a role's heads."""

from typing import Final

from schemas.relations import ANY_SCAN_P, ASKED_ROLE_P, Macro

MACRO: Final = Macro(
    "role_source",
    "The view of by_role that holds the heads of a role; the one of no rows if none has it.",
    (
        ASKED_ROLE_P,
        ANY_SCAN_P,
    ),
    (),
    "SELECT role_source('colour', 'demo')",
)
