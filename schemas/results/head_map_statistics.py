"""Where every head looks, pooled: head_map_statistics/NAME.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, STALE, Column, Table, columns_of

HEAD_MAP_STATISTICS: Final = "head_map_statistics"


def head_map_statistics_schema() -> pa.Schema:
    """Return the schema of `head_map_statistics/NAME.parquet`: a row per head, text and label."""
    on = "NULL without masks"
    return pa.schema(
        [
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("name", pa.string(), "Name of the head, as L22H11."),
            field("text", pa.string(), "The text looked for."),
            field(
                "label",
                pa.string(),
                "Pictures of this label alone, or whose mask has this class; NULL: all pictures.",
                null=True,
            ),
            field("pictures", pa.int64(), "Pictures counted."),
            field(
                "total",
                pa.float64(),
                "Sum of the head's map: what its image tokens add to the cosine with the text, "
                "beyond the mean of the texts compared with; mean over pictures.",
            ),
            field("total_sd", pa.float64(), "Standard deviation of that sum over pictures."),
            field(
                "magnitude",
                pa.float64(),
                "Sum of the map's absolute values, in units of cosine; mean over pictures.",
            ),
            field(
                "positive_share",
                pa.float64(),
                "Share of the absolute values that is positive, over all pictures together; NULL "
                "for maps of zeros.",
                null=True,
            ),
            field(
                "focus",
                pa.float64(),
                "1 - entropy / log(tokens) of the absolute values: 0 spread evenly, 1 on one "
                "token; mean over pictures.",
            ),
            field(
                "effective_tokens",
                pa.float64(),
                "Tokens in use: exp of that entropy; mean over pictures.",
            ),
            field("tokens", pa.int32(), "Image tokens of a picture."),
            field(
                "on_mask",
                pa.float64(),
                f"Share of the absolute values that lies on the mask; mean over pictures; {on}.",
                null=True,
            ),
            field(
                "positive_on_mask",
                pa.float64(),
                "Share of the positive values that lies on the mask, over all pictures together; "
                f"{on}, or where nothing is positive.",
                null=True,
            ),
            field(
                "mask_area",
                pa.float64(),
                f"Share of the picture that the mask covers, what on_mask is by chance; {on}.",
                null=True,
            ),
        ]
    )


KIND: Final = Kind(
    HEAD_MAP_STATISTICS,
    head_map_statistics_schema(),
    (
        Table(
            "head_map_statistics",
            "table",
            "One row per head, text and label of a run of map-statistics: how the head's "
            "contribution maps of the text are spread over the image tokens, pooled over pictures. "
            "Which head puts most of its weight for a text on what the masks show? The one with "
            "the largest positive_on_mask; by chance it would be mask_area.",
            (
                SCAN,
                Column("run", "VARCHAR", "The run: a result's name."),
                Column("data", "VARCHAR", "The pictures, as they were given."),
                *columns_of(head_map_statistics_schema()),
                STALE,
            ),
            "SELECT name, positive_on_mask, mask_area, magnitude FROM head_map_statistics "
            "WHERE text = 'an octopus' AND label = 'octopus' "
            "ORDER BY positive_on_mask DESC LIMIT 5",
        ),
    ),
    command="map-statistics",
    # of the scan's model alone, on any pictures: of no snapshot
    stands_on=(Part.MODEL, Part.DATA, Part.OPTIONS),
    may_stand_on=(Part.POOL,),
    named="run",
    said=("data",),
    # 2: pictures are decoded as the scan decodes
    format=2,
)
