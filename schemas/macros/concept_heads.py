"""The heads of which one property's texts explain most."""

from typing import Final

from schemas.relations import K_P, SCAN, SCAN_P, Column, Macro, Parameter, columns_of
from schemas.results.concept_shares import concept_shares_schema

MACRO: Final = Macro(
    "concept_heads",
    "The heads of which the texts about one property explain most beyond what they explain of the "
    "other heads of the layer. Needs headatlas concepts.",
    (
        Parameter("property", "Property, as in concept_shares."),
        K_P,
        SCAN_P,
        Parameter("pool", "Description pool; by default the one measured last.", "NULL"),
    ),
    (
        Column("rank", "BIGINT", "Rank, from 0, by share - others."),
        Column("name", "VARCHAR", "Name of the head, as L22H11."),
        *columns_of(concept_shares_schema(), "layer", "head", "share", "others", "ceiling"),
        SCAN,
    ),
    "SELECT name, share, others FROM concept_heads('colour', k := 5)",
    order=("rank",),
)
