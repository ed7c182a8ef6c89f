"""Pictures alike by all heads of a role."""

from typing import Final

from schemas.macros.nearest_by_head import NEIGHBOURS
from schemas.relations import CENTRED_P, K_P, ROLE_BASIS_P, ROLE_P, SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "nearest_by_role",
    "Pictures most alike to a given one by all heads that carry a role, their coordinates laid "
    "end to end; as headatlas nearest --role. It reads those heads and no others, so it costs as "
    "many times nearest_by_head as there are; publish --materialize role:NAME makes that "
    "cheaper. Role, scan, basis and centred are constants, parameters or getvariable('v'), no "
    "subquery.",
    (
        Parameter("key", "Key of the picture to start from."),
        ROLE_P,
        K_P,
        SCAN_P,
        ROLE_BASIS_P,
        Parameter("metric", "'cosine', or 'dot'.", "'cosine'"),
        CENTRED_P,
    ),
    NEIGHBOURS,
    "SELECT rank, key, score FROM nearest_by_role('images/000003.png', 'colour', k := 5)",
    order=("rank",),
)
