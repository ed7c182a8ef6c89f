"""Predictions with all heads of a role mean-ablated."""

from typing import Final

from schemas.macros.ablate import ABLATED
from schemas.relations import CLASSIFIER_P, ROLE_BASIS_P, ROLE_P, SCAN_P, Macro

MACRO: Final = Macro(
    "ablate_role",
    "Predictions with all heads that carry a role mean-ablated, as by ablate.",
    (
        CLASSIFIER_P,
        ROLE_P,
        SCAN_P,
        ROLE_BASIS_P,
    ),
    ABLATED,
    "SELECT key, before, after FROM ablate_role('kinds', 'colour') WHERE before <> after",
)
