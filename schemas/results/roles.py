"""What heads do, from the texts of a basis: roles/BASIS.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of

ROLES: Final = "roles"

ENRICHMENT: Final = "enrichment"
LANGUAGE_MODEL: Final = "language model"
MANUAL: Final = "manual"
METHODS: Final = (ENRICHMENT, LANGUAGE_MODEL, MANUAL)
_LAYER = field("layer", pa.int16(), "Layer of the image encoder, from 0.")
_HEAD = field("head", pa.int16(), "Head within the layer, from 0.")


def roles_schema() -> pa.Schema:
    """Return the schema of `roles/BASIS.parquet`: one row per head and method."""
    return pa.schema(
        [
            _LAYER,
            _HEAD,
            field("role", pa.string(), "The head's role; NULL: no clear role.", null=True),
            field(
                "score",
                pa.float64(),
                "How much speaks for it: the share of explained variance that texts of this "
                "property carry (enrichment), or the confidence from 0 to 1 (language model).",
                null=True,
            ),
            field(
                "p_value",
                pa.float64(),
                "Of the property with the largest share: twice the smaller of p_labels and "
                "p_turned.",
                null=True,
            ),
            field(
                "q_value",
                pa.float64(),
                "p_value after Benjamini-Hochberg over all heads and properties of the basis.",
                null=True,
            ),
            field(
                "p_labels",
                pa.float64(),
                "Under permutation of the properties over the pool's texts; tails computed.",
                null=True,
            ),
            field(
                "p_turned",
                pa.float64(),
                "Under random rotation of the head within its frame, the texts left whole.",
                null=True,
            ),
            field("method", pa.string(), "enrichment, language model or manual."),
            field(
                "stability",
                pa.float64(),
                "Share of bootstrap samples of the pictures in which the same role is found.",
                null=True,
            ),
            field("note", pa.string(), "Why, in one line.", null=True),
        ]
    )


KIND: Final = Kind(
    ROLES,
    roles_schema(),
    (
        Table(
            "head_roles",
            "table",
            "One row per head, basis and method: what the head does, or NULL for no clear role. "
            "A role set by hand overrides: the other methods' rows of that head then have none.",
            (
                SCAN,
                Column(
                    "basis",
                    "VARCHAR",
                    "TextSpan basis that this was found from; NULL for roles set by hand where no "
                    "basis has any.",
                ),
                *columns_of(roles_schema()),
                SNAPSHOT,
                STALE,
            ),
            "SELECT layer, head, role, score, p_value, method FROM head_roles "
            "WHERE role IS NOT NULL ORDER BY q_value LIMIT 5",
        ),
    ),
    command="roles build",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.BASIS, Part.OPTIONS),
    named="basis",
    # 2: another draw of rotations
    format=2,
)
