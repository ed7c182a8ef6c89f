"""Heads alike to a head."""

from typing import Final

from schemas.relations import HEAD_P, K_P, LAYER_P, SCAN, SCAN_P, Column, Macro, columns_of
from schemas.results.head_similarity import head_similarity_schema

MACRO: Final = Macro(
    "similar_heads",
    "Which heads of a scan write most alike to a head over its pictures, by linear CKA. Needs "
    "headatlas similarity.",
    (LAYER_P, HEAD_P, K_P, SCAN_P),
    (
        Column("rank", "BIGINT", "Rank, from 0."),
        Column("name", "VARCHAR", "Name of the other head, as L22H11."),
        *columns_of(head_similarity_schema(), "layer", "head", "cka"),
        SCAN,
    ),
    "SELECT name, cka FROM similar_heads('L4H1', k := 5)",
    order=("rank",),
)
