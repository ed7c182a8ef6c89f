"""The texts of a head of the text tower."""

from typing import Final

from schemas.relations import HEAD_P, POOL, SCAN, SCAN_P, TEXT_LAYER_P, Macro, Parameter, columns_of
from schemas.results.text_textspan import text_textspan_schema

MACRO: Final = Macro(
    "text_head_texts",
    "The texts that span a head of the text tower, in the order picked. Needs headatlas texts.",
    (
        TEXT_LAYER_P,
        HEAD_P,
        Parameter("pool", "Pool of the texts; by default the one decomposed last.", "NULL"),
        SCAN_P,
    ),
    (
        *columns_of(
            text_textspan_schema(),
            "rank",
            "text",
            "property",
            "variance",
            "explained",
            "cumulative",
            "pca_cumulative",
            "description_id",
        ),
        POOL,
        SCAN,
    ),
    "SELECT rank, text, explained, cumulative FROM text_head_texts('L2H0')",
    order=("rank",),
)
