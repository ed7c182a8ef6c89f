"""What the pictures' own columns explain of each head: attributes/attributes.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of

ATTRIBUTES: Final = "attributes"
_LAYER = field("layer", pa.int16(), "Layer of the image encoder, from 0.")
_HEAD = field("head", pa.int16(), "Head within the layer, from 0.")


def attributes_schema() -> pa.Schema:
    """Return the schema of `attributes/attributes.parquet`: one row per head and attribute."""
    return pa.schema(
        [
            _LAYER,
            _HEAD,
            field("attribute", pa.string(), "Column of the pictures: label, or of metadata."),
            field(
                "r2",
                pa.float64(),
                "Share of the head's variance that the attribute explains: between groups over "
                "total, over the pictures that have a value.",
            ),
            field(
                "p_value",
                pa.float64(),
                "Of r2 when values are permuted over pictures (limit for many pictures).",
            ),
            field("groups", pa.int32(), "Values of the attribute."),
            field("images", pa.int64(), "Pictures that have a value."),
        ]
    )


KIND: Final = Kind(
    ATTRIBUTES,
    attributes_schema(),
    (
        Table(
            "head_attributes",
            "table",
            "One row per head and attribute of the pictures: how much of the head it explains.",
            (SCAN, *columns_of(attributes_schema()), SNAPSHOT, STALE),
            "SELECT attribute, max_by(format('L{}H{}', layer, head), r2) AS best, max(r2) AS r2 "
            "FROM head_attributes GROUP BY attribute ORDER BY r2 DESC",
        ),
    ),
    command="roles build",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.LABELS),
)
