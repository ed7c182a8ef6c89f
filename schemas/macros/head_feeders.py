"""What feeds a head."""

from typing import Final

from schemas.relations import HEAD_P, K_P, LAYER_P, SCAN, SCAN_P, Column, Macro, columns_of
from schemas.results.head_edges import head_edges_schema

MACRO: Final = Macro(
    "head_feeders",
    "From which earlier components a head reads most: the largest shares of its variance first. "
    "Needs headatlas edges.",
    (LAYER_P, HEAD_P, K_P, SCAN_P),
    (
        Column("rank", "BIGINT", "Rank, from 0."),
        Column("name", "VARCHAR", "Name of the source: L2H3, MLP 2, bias 2, init or const."),
        Column("component", "VARCHAR", "head, mlp, bias, init or const."),
        *columns_of(head_edges_schema(), "share"),
        SCAN,
    ),
    "SELECT name, component, share FROM head_feeders('L4H1', k := 5)",
    order=("rank",),
)
