"""What every head of the text tower writes of every text: text_contributions/POOL.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field, vector_of
from schemas.kinds import Kind
from schemas.relations import POOL, SCAN, STALE, Table, columns_of
from schemas.texts import DESCRIPTION_ID, TEXT_HEAD, TEXT_LAYER, TEXT_STANDS_ON

TEXT_CONTRIBUTIONS: Final = "text_contributions"
SHARE_COMMENT: Final = (
    "What it adds to the text's own unit embedding e: <c, e>; over all heads, MLPs, biases, the "
    "first tokens and the constant these sum to 1."
)


def text_contributions_schema(d_head: int) -> pa.Schema:
    """Return the schema of `text_contributions/POOL.parquet`; one row group per head."""
    return pa.schema(
        [
            TEXT_LAYER,
            TEXT_HEAD,
            DESCRIPTION_ID,
            field(
                "vector",
                vector_of(pa.float16(), d_head),
                "Direct contribution of the head to the text's unit-norm embedding, in the head's "
                "frame Q': c / norm = Q' · vector.",
            ),
            field("share", pa.float32(), SHARE_COMMENT),
        ]
    )


KIND: Final = Kind(
    TEXT_CONTRIBUTIONS,
    text_contributions_schema(1),
    (
        Table(
            "text_contributions",
            "table",
            "One row per text of a pool and stored head of the text tower: what the head writes "
            "into the text's embedding.",
            (SCAN, POOL, *columns_of(text_contributions_schema(1)), STALE),
            "SELECT d.text, c.share FROM text_contributions AS c "
            "JOIN descriptions AS d USING (pool, description_id) "
            "WHERE c.layer = 2 AND c.head = 0 ORDER BY c.share DESC LIMIT 5",
        ),
    ),
    command="texts",
    stands_on=TEXT_STANDS_ON,
    named="pool",
)
