"""Which components of the texts a head of the pictures meets in the cosine."""

from typing import Final

from schemas.relations import HEAD_P, K_P, LAYER_P, SCAN, SCAN_P, Column, Macro, Parameter
from schemas.results.head_pairs import PAIRING

MACRO: Final = Macro(
    "pairs_of",
    "Which heads of the text tower an image head meets in the cosine of pictures with their own "
    "texts: the largest shares of its variance first. Needs headatlas pairs.",
    (
        LAYER_P,
        HEAD_P,
        K_P,
        Parameter("pairing", "Pairing; by default the scan's newest.", "NULL"),
        SCAN_P,
    ),
    (
        Column("rank", "BIGINT", "Rank, from 0."),
        Column("name", "VARCHAR", "What it meets in the text: L2H0, MLP 2, bias 2, init, ..."),
        Column("component", "VARCHAR", "head, mlp, bias, init, const or rest, of the text."),
        Column("layer", "SMALLINT", "Layer of the text's component; NULL where it has none."),
        Column("head", "SMALLINT", "Head of the text's component; NULL where it has none."),
        Column("mean", "DOUBLE", "Mean over pairs of what the two add to the cosine."),
        Column("share", "DOUBLE", "Share of the cosine's variance over pairs."),
        PAIRING,
        SCAN,
    ),
    "SELECT name, mean, share FROM pairs_of('L4H1', k := 5)",
    order=("rank",),
)
