"""Pictures furthest along a direction."""

from typing import Final

from schemas.macros.nearest_by_head import NEIGHBOURS
from schemas.relations import CENTRED_P, HEAD_P, K_P, LAYER_P, SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "nearest_by_vector",
    "Pictures furthest along a direction, by what one head writes: of the joint space, as the "
    "embedding of any text, or of the head's frame. With metric 'dot' and a unit vector the score "
    "is what the head adds to the cosine, beyond its mean. Layer, head, scan and centred are "
    "constants, parameters or getvariable('v'), no subquery.",
    (
        Parameter("vector", "The direction, d_joint or d_head numbers."),
        LAYER_P,
        HEAD_P,
        K_P,
        SCAN_P,
        Parameter("metric", "'dot', or 'cosine'.", "'dot'"),
        CENTRED_P,
    ),
    NEIGHBOURS,
    "SELECT rank, key, score FROM nearest_by_vector((SELECT embedding FROM "
    "default_scan.description_vectors WHERE description_id = 0), 'L4H1', k := 5)",
    order=("rank",),
)
