"""Heads of the text tower split by the word that they read: text_words/POOL.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field, vector_of
from schemas.kinds import Kind
from schemas.relations import POOL, SCAN, STALE, Table, columns_of
from schemas.results.text_contributions import SHARE_COMMENT
from schemas.texts import DESCRIPTION_ID, TEXT_HEAD, TEXT_LAYER, TEXT_STANDS_ON

TEXT_WORDS: Final = "text_words"


def text_words_schema(d_head: int) -> pa.Schema:
    """Return the schema of `text_words/POOL.parquet`: a row per head, text and word."""
    return pa.schema(
        [
            TEXT_LAYER,
            TEXT_HEAD,
            DESCRIPTION_ID,
            field("place", pa.int16(), "Place of the word in the text, from 0: the start token."),
            field(
                "word",
                pa.string(),
                "The word; <start>, <end>, <pad> and <cls> for what a tokenizer adds.",
            ),
            field(
                "vector",
                vector_of(pa.float16(), d_head),
                "What the head reads from the word's tokens, in its frame: those of a text sum to "
                "text_contributions.vector. After the first layer a word's state has mixed earlier "
                "words in.",
            ),
            field("share", pa.float32(), SHARE_COMMENT),
        ]
    )


KIND: Final = Kind(
    TEXT_WORDS,
    text_words_schema(1),
    (
        Table(
            "text_words",
            "table",
            "One row per word of a text and stored head of the text tower, with --words.",
            (SCAN, POOL, *columns_of(text_words_schema(1)), STALE),
            "SELECT word, sum(share) AS share FROM text_words WHERE description_id = 0 "
            "GROUP BY place, word ORDER BY place",
        ),
    ),
    command="texts",
    stands_on=TEXT_STANDS_ON,
    named="pool",
)
