"""Pictures alike by the whole embedding: what search by head is compared with."""

from typing import Final

from schemas.macros.nearest_by_head import NEIGHBOURS
from schemas.relations import K_P, SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "nearest_by_embedding",
    "Pictures most alike to a given one by the whole embedding; that picture is left out. The "
    "score is the cosine of the embeddings, as CLIP itself would search.",
    (Parameter("key", "Key of the picture to start from."), K_P, SCAN_P),
    NEIGHBOURS,
    "SELECT rank, key, score FROM nearest_by_embedding('images/000003.png', k := 5)",
    order=("rank",),
)
