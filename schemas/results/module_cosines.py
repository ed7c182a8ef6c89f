"""How each layer's attention and MLP point, by layer: module_cosines/CLASSIFIER.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of

MODULE_COSINES: Final = "module_cosines"


def module_cosines_schema() -> pa.Schema:
    """Return the schema of `module_cosines/CLASSIFIER.parquet`: a row per module and target."""
    return pa.schema(
        [
            field("module", pa.string(), "attention (all heads and the bias) or mlp."),
            field("layer", pa.int16(), "Layer, from 0; an attention pool's is n_layers."),
            field(
                "target",
                pa.string(),
                "true text (the picture's class), wrong text (the other class that the embedding "
                "is nearest to) or embedding (the picture's own).",
            ),
            field("n", pa.int64(), "Pictures counted: those whose label is a class."),
            field("cosine", pa.float64(), "Mean cosine of what the module adds with the target."),
            field("deviation", pa.float64(), "Standard deviation of that cosine over pictures."),
        ]
    )


KIND: Final = Kind(
    MODULE_COSINES,
    module_cosines_schema(),
    (
        Table(
            "module_cosines",
            "table",
            "One row per classifier, layer's attention or MLP, and what its direct contribution is "
            "compared with (CLIP Surgery, figure 8).",
            (
                SCAN,
                Column("classifier", "VARCHAR", "Zero-shot classifier that has the texts."),
                *columns_of(module_cosines_schema()),
                SNAPSHOT,
                STALE,
            ),
            "SELECT module, layer, cosine FROM module_cosines WHERE target = 'embedding' "
            "ORDER BY module, layer",
        ),
    ),
    command="module-cosines",
    stands_on=(
        Part.CONFIGURATION,
        Part.PICTURES,
        Part.LABELS,
        Part.CLASSIFIER,
        Part.OPTIONS,
    ),
    named="classifier",
)
