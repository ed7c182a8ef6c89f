"""Each head's principal directions: head_directions/head_directions.parquet, after a commit."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of

HEAD_DIRECTIONS: Final = "head_directions"


def head_directions_schema() -> pa.Schema:
    """Return the schema of `head_directions.parquet`: a row per head and direction in use."""
    floats = pa.list_(pa.field("element", pa.float32(), nullable=False))
    return pa.schema(
        [
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("direction", pa.int16(), "From 0: the one of largest variance first."),
            field("variance", pa.float64(), "Variance of vector along it over the pictures."),
            field("vector", floats, "The direction, of unit length, in the head frame."),
        ]
    )


KIND: Final = Kind(
    HEAD_DIRECTIONS,
    head_directions_schema(),
    (
        Table(
            "head_directions",
            "table",
            "One row per head and principal direction of what it writes, those of less than a "
            "millionth of the largest variance left out; none of trunk heads behind a pool.",
            (SCAN, *columns_of(head_directions_schema()), SNAPSHOT, STALE),
            "SELECT direction, variance FROM head_directions WHERE layer = 4 AND head = 1 "
            "ORDER BY direction LIMIT 5",
        ),
    ),
    command="scan",
    stands_on=(Part.CONFIGURATION, Part.PICTURES),
)
