"""What is known of a head, in one row."""

from typing import Final

from schemas.relations import HEAD_P, LAYER_P, SCAN, SCAN_P, Column, Macro

MACRO: Final = Macro(
    "explain_head",
    "What is known of a head, in one row: its roles, texts, how it ranks by direct and by total "
    "effect, what it reads and what reads it. What was not measured is NULL or empty.",
    (LAYER_P, HEAD_P, SCAN_P),
    (
        Column("name", "VARCHAR", "Name of the head, as L22H11."),
        Column("roles", "VARCHAR[]", "Its roles, by any basis."),
        Column("texts", "VARCHAR[]", "The first five texts of the scan's newest TextSpan basis."),
        Column("direct_rank", "BIGINT", "Rank from 1 by mean |direct| over all of head_effects."),
        Column("total_rank", "BIGINT", "Rank from 1 by mean |total| over all of head_effects."),
        Column("feeders", "VARCHAR[]", "The three earlier heads that it reads most."),
        Column("fed", "VARCHAR[]", "The three later heads that read most of it."),
        SCAN,
    ),
    "SELECT name, roles, texts, direct_rank, total_rank FROM explain_head('L4H1')",
)
