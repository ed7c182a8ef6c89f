"""Which head of another scan is most like each head: head_matches/OTHER_SCAN.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of

HEAD_MATCHES: Final = "head_matches"


def head_matches_schema() -> pa.Schema:
    """Return the schema of `head_matches/OTHER_SCAN.parquet`: a row per head of the scan."""
    return pa.schema(
        [
            field("layer", pa.int16(), "Layer of the head, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("name", pa.string(), "Name of the head, as L22H11."),
            field("other_layer", pa.int16(), "Layer of the other scan's most alike head."),
            field("other_head", pa.int16(), "That head, within its layer."),
            field("other_name", pa.string(), "Its name."),
            field("cka", pa.float64(), "Linear CKA of the two over the shared pictures."),
            field("chance", pa.float64(), "Mean CKA of the two when pictures are permuted."),
            field(
                "p_value",
                pa.float64(),
                "Of the best of all heads of the other scan under permutation of the pictures: "
                "1 - (1 - p)^heads, p computed and not drawn.",
            ),
            field(
                "q_value", pa.float64(), "p_value after Benjamini-Hochberg over the scan's heads."
            ),
            field("mutual", pa.bool_(), "Whether each is the other's most alike."),
            field(
                "assigned",
                pa.string(),
                "The other scan's head when heads are paired off one to one with the largest sum "
                "of CKA; NULL for a head that is left over.",
                null=True,
            ),
            field("assigned_cka", pa.float64(), "Linear CKA with that head.", null=True),
            field("n", pa.int64(), "Pictures counted: those whose key both scans have."),
        ]
    )


KIND: Final = Kind(
    HEAD_MATCHES,
    head_matches_schema(),
    (
        Table(
            "head_matches",
            "table",
            "One row per head that varies and other scan that it was compared with: the head there "
            "that writes most alike over the pictures of the same keys.",
            (
                SCAN,
                Column("other_scan", "VARCHAR", "The other scan."),
                *columns_of(head_matches_schema()),
                SNAPSHOT,
                STALE,
            ),
            "SELECT name, other_scan, other_name, cka, q_value, mutual FROM head_matches "
            "ORDER BY cka DESC LIMIT 5",
        ),
    ),
    command="match",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.MODEL, Part.OTHER, Part.OPTIONS),
    named="other_scan",
)
