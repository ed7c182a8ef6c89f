"""Pictures furthest along a text."""

from typing import Final

from schemas.macros.nearest_by_head import NEIGHBOURS
from schemas.relations import BASIS_P, CENTRED_P, HEAD_P, K_P, LAYER_P, SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "nearest_by_text",
    "Pictures furthest along a text, by what one head writes. With metric 'dot' the score is "
    "what the head adds to the cosine of picture and text, beyond its mean. Layer, head, scan "
    "and centred are constants, parameters or getvariable('v'), no subquery.",
    (
        Parameter(
            "text",
            "One of the head's texts, as head_texts shows it; or of any pool, as "
            "description_vectors does.",
        ),
        LAYER_P,
        HEAD_P,
        K_P,
        SCAN_P,
        BASIS_P,
        Parameter("metric", "'dot', or 'cosine'.", "'dot'"),
        CENTRED_P,
    ),
    NEIGHBOURS,
    "SELECT rank, key, score FROM nearest_by_text('a photo of a red thing', 'L4H1', k := 5)",
    order=("rank",),
)
