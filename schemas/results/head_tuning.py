"""Heads' principal directions, weighed anew for a classifier: head_tuning/CLASSIFIER.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of

HEAD_TUNING: Final = "head_tuning"


def head_tuning_schema() -> pa.Schema:
    """Return the schema of `head_tuning/CLASSIFIER.parquet`: a row per head and direction."""
    floats = pa.list_(pa.field("element", pa.float32(), nullable=False))
    return pa.schema(
        [
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("direction", pa.int16(), "From 0: the one of largest variance first."),
            field(
                "weight", pa.float64(), "What is written along it is multiplied by; 1: as it is."
            ),
            field("center", pa.float64(), "Mean of vector along it; it stays where it is."),
            field("vector", floats, "The direction, of unit length, in the head frame."),
        ]
    )


KIND: Final = Kind(
    HEAD_TUNING,
    head_tuning_schema(),
    (
        Table(
            "head_tuning",
            "table",
            "One row per classifier, head and principal direction: what the direction is weighed "
            "with so that the classifier is right more often. headatlas export --tuned applies it.",
            (
                SCAN,
                Column("classifier", "VARCHAR", "Zero-shot classifier that it was learned for."),
                *columns_of(head_tuning_schema()),
                SNAPSHOT,
                STALE,
            ),
            "SELECT layer, head, direction, weight FROM head_tuning "
            "ORDER BY abs(weight - 1) DESC LIMIT 5",
        ),
    ),
    command="tune",
    stands_on=(
        Part.CONFIGURATION,
        Part.PICTURES,
        Part.LABELS,
        Part.CLASSIFIER,
        Part.OPTIONS,
    ),
    named="classifier",
)
