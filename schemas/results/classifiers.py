"""Zero-shot classifiers: classifiers/NAME.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field, vector_of
from schemas.kinds import Kind, Part
from schemas.logits import CLASS, CLASSIFIER, floats
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of

CLASSIFIERS: Final = "classifiers"


def classifier_schema(d_joint: int) -> pa.Schema:
    """Return the schema of `classifiers/NAME.parquet`: one row per class."""
    return pa.schema(
        [
            CLASS,
            field("class_name", pa.string(), "The class as it stands in a prompt."),
            field("label", pa.string(), "The label that pictures of this class carry."),
            field(
                "weight",
                vector_of(pa.float32(), d_joint),
                "Unit-norm class weight: the mean of its prompts' unit embeddings, renormalised.",
            ),
            floats(
                "head_means",
                "Mean logit of each stored head over all pictures of the scan, by layer and head.",
            ),
        ]
    )


KIND: Final = Kind(
    CLASSIFIERS,
    classifier_schema(1),
    (
        Table(
            "classifiers",
            "table",
            "One row per class of a zero-shot classifier.",
            (SCAN, CLASSIFIER, *columns_of(classifier_schema(1)), SNAPSHOT, STALE),
            "SELECT classifier, class, class_name, label FROM classifiers ORDER BY ALL",
        ),
    ),
    command="zeroshot",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.CLASSES, Part.OPTIONS),
    # where the classes are the labels that the pictures carry
    may_stand_on=(Part.LABELS,),
    named="classifier",
)
