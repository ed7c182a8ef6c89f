"""The texts that span each head of the text tower: text_textspan/POOL.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind
from schemas.relations import POOL, SCAN, STALE, Table, columns_of
from schemas.texts import DESCRIPTION_ID, TEXT_HEAD, TEXT_LAYER, TEXT_STANDS_ON

TEXT_TEXTSPAN: Final = "text_textspan"


def text_textspan_schema() -> pa.Schema:
    """Return the schema of `text_textspan/POOL.parquet`."""
    return pa.schema(
        [
            TEXT_LAYER,
            TEXT_HEAD,
            field("rank", pa.int16(), "Order in which the text was picked, from 0."),
            DESCRIPTION_ID,
            field("text", pa.string(), "The description's text."),
            field("property", pa.string(), "The description's property.", null=True),
            field("variance", pa.float64(), "Variance over the texts that this pick removes."),
            field("explained", pa.float64(), "The same as a share of the head's total variance."),
            field("cumulative", pa.float64(), "Explained by this and all earlier picks."),
            field(
                "pca_cumulative",
                pa.float64(),
                "Ceiling: explained by as many principal directions.",
            ),
        ]
    )


KIND: Final = Kind(
    TEXT_TEXTSPAN,
    text_textspan_schema(),
    (
        Table(
            "text_textspan",
            "table",
            "One row per text picked for a head of the text tower, in order: TextSpan with the "
            "pool's own texts as samples and as candidates.",
            (SCAN, POOL, *columns_of(text_textspan_schema()), STALE),
            "SELECT layer, head, text, explained FROM text_textspan WHERE rank = 0 "
            "ORDER BY explained DESC",
        ),
    ),
    command="texts",
    stands_on=TEXT_STANDS_ON,
    named="pool",
)
