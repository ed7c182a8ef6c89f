"""Tables about maps: how well methods segment, and where heads look."""

from typing import Final

from schemas.maps import segmentation_scores_schema
from schemas.relations import Column, Table, columns_of

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
)
