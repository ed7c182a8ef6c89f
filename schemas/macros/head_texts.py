"""The texts of a head."""

from typing import Final

from schemas.relations import BASIS, BASIS_P, HEAD_P, LAYER_P, SCAN, SCAN_P, Macro, columns_of
from schemas.results.textspan import textspan_schema

MACRO: Final = Macro(
    "head_texts",
    "The texts that span a head, in the order picked.",
    (
        LAYER_P,
        HEAD_P,
        SCAN_P,
        BASIS_P,
    ),
    (
        *columns_of(
            textspan_schema(),
            "rank",
            "text",
            "property",
            "variance",
            "explained",
            "cumulative",
            "pca_cumulative",
            "description_id",
        ),
        BASIS,
        SCAN,
    ),
    "SELECT rank, text, explained, cumulative FROM head_texts('L4H1')",
    order=("rank",),
)
