"""What a head feeds."""

from typing import Final

from schemas.relations import HEAD_P, K_P, LAYER_P, SCAN, SCAN_P, Column, Macro, columns_of
from schemas.results.head_edges import head_edges_schema

MACRO: Final = Macro(
    "head_fed",
    "Which later heads read most of a head: the largest shares of their variance first. No rows "
    "for the last layer. Needs headatlas edges.",
    (LAYER_P, HEAD_P, K_P, SCAN_P),
    (
        Column("rank", "BIGINT", "Rank, from 0."),
        Column("name", "VARCHAR", "Name of the head that reads, as L22H11."),
        *columns_of(head_edges_schema(), "layer", "head", "share"),
        SCAN,
    ),
    "SELECT name, share FROM head_fed('L1H1', k := 5)",
    order=("rank",),
)
