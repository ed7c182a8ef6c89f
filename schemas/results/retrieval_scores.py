"""How well heads retrieve: retrieval_scores/retrieval_scores.parquet, by the newest run."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of

RETRIEVAL_SCORES: Final = "retrieval_scores"

HEAD: Final = "head"
EMBEDDING: Final = "embedding"


def retrieval_scores_schema() -> pa.Schema:
    """Return the schema: one row per attribute and stored head, and one for the embedding."""
    return pa.schema(
        [
            field("attribute", pa.string(), "Column of the pictures: label, or of metadata."),
            field("component", pa.string(), "head, or embedding: the whole of it, the baseline."),
            field(
                "layer",
                pa.int16(),
                "Layer of the image encoder, from 0; NULL for the embedding.",
                null=True,
            ),
            field(
                "head",
                pa.int16(),
                "Head within the layer, from 0; NULL for the embedding.",
                null=True,
            ),
            field("k", pa.int32(), "Neighbours of precision_at_k."),
            field(
                "precision_at_k",
                pa.float64(),
                "Share of the k nearest pictures that have the query's value, over all queries.",
            ),
            field(
                "mean_average_precision",
                pa.float64(),
                "Average precision of the ranking of all pictures, averaged over queries (mAP).",
            ),
            field("chance", pa.float64(), "Share of all pictures that have the query's value."),
            field("queries", pa.int32(), "Pictures asked with, drawn at random."),
        ]
    )


KIND: Final = Kind(
    RETRIEVAL_SCORES,
    retrieval_scores_schema(),
    (
        Table(
            "retrieval_scores",
            "table",
            "One row per attribute and head, or the whole embedding: how well it retrieves "
            "pictures that share the attribute's value. Of the newest run of headatlas evaluate.",
            (SCAN, *columns_of(retrieval_scores_schema()), SNAPSHOT, STALE),
            "SELECT attribute, max_by('L' || layer || 'H' || head, precision_at_k) AS best_head, "
            "max(precision_at_k) FILTER (component = 'head') AS precision, "
            "max(precision_at_k) FILTER (component = 'embedding') AS embedding, "
            "any_value(chance) AS chance FROM retrieval_scores GROUP BY attribute "
            "ORDER BY attribute",
        ),
    ),
    command="evaluate",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.LABELS, Part.OPTIONS),
)
