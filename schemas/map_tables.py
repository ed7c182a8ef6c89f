"""Tables about maps: how well methods segment, and where heads look."""

from typing import Final

from schemas.maps import head_map_statistics_schema, segmentation_scores_schema
from schemas.relations import SCAN, Column, Table, columns_of

MAP_TABLES: Final = (
    Table(
        "segmentation_scores",
        "table",
        "One row per method of a run of segment: its maps against masks, and what they cost.",
        (
            *columns_of(segmentation_scores_schema()),
            Column("created_at", "TIMESTAMP", "When the scores were made, UTC."),
        ),
        "SELECT method, miou, map, milliseconds, peak_mb FROM segmentation_scores "
        "WHERE protocol = 'aligned' ORDER BY miou + map DESC",
    ),
    Table(
        "head_map_statistics",
        "table",
        "One row per head, text and label of a run of map-statistics: how the head's contribution "
        "maps of the text are spread over the image tokens, pooled over pictures. Which head puts "
        "most of its weight for a text on what the masks show? The one with the largest "
        "positive_on_mask; by chance it would be mask_area.",
        (
            SCAN,
            Column("run", "VARCHAR", "The run: a result's name."),
            Column("data", "VARCHAR", "The pictures, as they were given."),
            *columns_of(head_map_statistics_schema()),
        ),
        "SELECT name, positive_on_mask, mask_area, magnitude FROM head_map_statistics "
        "WHERE text = 'a bird' AND label = 'bird' ORDER BY positive_on_mask DESC LIMIT 5",
    ),
)
