"""Which words a head of the text tower carries: text_head_words/NAME.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, STALE, Column, Table, columns_of

TEXT_HEAD_WORDS: Final = "text_head_words"
GRID: Final = Column("grid", "VARCHAR", "Name of the grid of texts.")


def text_head_words_schema() -> pa.Schema:
    """Return the schema of `text_head_words/NAME.parquet`: a row per head and effect."""
    return pa.schema(
        [
            field(
                "layer",
                pa.int16(),
                "Layer of the text tower, from 0; NULL for the whole embedding.",
                null=True,
            ),
            field(
                "head",
                pa.int16(),
                "Head within the layer, from 0; NULL for the whole embedding.",
                null=True,
            ),
            field("name", pa.string(), "Name of the head, as L5H0; or `embedding`."),
            field(
                "effect",
                pa.string(),
                "A slot of the template, as colour; or several, as `colour x noun`: their "
                "interaction, what they bind.",
            ),
            field("slots", pa.int16(), "Slots of the effect: 1, or 2 and more of an interaction."),
            field(
                "share",
                pa.float64(),
                "Share of the head's variance over the grid of texts; those of a head sum to 1; "
                "NULL where it does not vary.",
                null=True,
            ),
            field("variance", pa.float64(), "Total variance of vector over the grid."),
            field("n", pa.int64(), "Texts of the grid."),
        ]
    )


KIND: Final = Kind(
    TEXT_HEAD_WORDS,
    text_head_words_schema(),
    (
        Table(
            "text_head_words",
            "table",
            "One row per head of the text tower and slot (or slots together) of a grid of texts: "
            "which words the head carries.",
            (SCAN, GRID, *columns_of(text_head_words_schema()), STALE),
            "SELECT name, effect, share, variance FROM text_head_words WHERE slots = 1 "
            "ORDER BY variance * share DESC LIMIT 5",
        ),
    ),
    command="texts",
    stands_on=(Part.WEIGHTS, Part.OPTIONS),
    named="grid",
)
