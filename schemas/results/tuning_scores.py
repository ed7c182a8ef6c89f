"""What spectral tuning gains on held-out pictures: tuning_scores/CLASSIFIER.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of

TUNING_SCORES: Final = "tuning_scores"

OVERALL: Final = "overall"
GROUP: Final = "group"
SHUFFLED: Final = "shuffled"


def tuning_scores_schema() -> pa.Schema:
    """Return the schema of `tuning_scores/CLASSIFIER.parquet`: a row per group, and controls."""
    return pa.schema(
        [
            field(
                "kind",
                pa.string(),
                "overall; group; or shuffled: overall, learned and judged on shuffled labels.",
            ),
            field(
                "members",
                pa.list_(pa.string()),
                "Values that the group's pictures have, of the columns grouped by; empty for all.",
            ),
            field("n", pa.int64(), "Pictures counted."),
            field("before", pa.float64(), "Share told right before tuning."),
            field("after", pa.float64(), "Share told right by weights learned on other pictures."),
        ]
    )


KIND: Final = Kind(
    TUNING_SCORES,
    tuning_scores_schema(),
    (
        Table(
            "tuning_scores",
            "table",
            "One row per classifier and group of pictures: how often they are told right before "
            "and after spectral tuning, each by weights learned on other folds.",
            (
                SCAN,
                Column("classifier", "VARCHAR", "Zero-shot classifier."),
                *columns_of(tuning_scores_schema()),
                SNAPSHOT,
                STALE,
            ),
            "SELECT kind, members, n, before, after FROM tuning_scores ORDER BY after LIMIT 5",
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
