"""Heads that tell pictures apart along a direction."""

from typing import Final

from schemas.relations import K_P, SCAN, SCAN_P, Column, Macro, Parameter, columns_of
from schemas.results.heads import heads_schema

ALONG: Final = (
    Column("rank", "BIGINT", "Order, from 0: the largest variance first."),
    *columns_of(heads_schema(), "layer", "head", "name"),
    Column(
        "variance",
        "DOUBLE",
        "Variance over pictures of what the head adds to the cosine with the direction: r^T C r, "
        "with r = Q^T t and the covariance C (the measure of the paper's Algorithm 1).",
    ),
    Column("explained", "DOUBLE", "Of the head's own variance, the share along r."),
    SCAN,
)

MACRO: Final = Macro(
    "heads_by_vector",
    "Heads that most tell pictures apart along a direction of the joint space, as the embedding of "
    "any text: by the variance of what they write along it.",
    (Parameter("vector", "The direction, d_joint numbers of unit norm."), K_P, SCAN_P),
    ALONG,
    "SELECT name, explained FROM heads_by_vector((SELECT embedding FROM "
    "default_scan.description_vectors WHERE description_id = 0), k := 5)",
    order=("rank",),
)
