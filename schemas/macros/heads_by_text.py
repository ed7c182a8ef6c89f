"""Heads that tell pictures apart along a text."""

from typing import Final

from schemas.macros.heads_by_vector import ALONG
from schemas.relations import K_P, SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "heads_by_text",
    "Heads that most tell pictures apart along a text of any pool: by the variance of what they "
    "write along it.",
    (Parameter("text", "A text, exactly as description_vectors shows it."), K_P, SCAN_P),
    ALONG,
    "SELECT name, explained FROM heads_by_text('a photo of a red thing', k := 5)",
    order=("rank",),
)
