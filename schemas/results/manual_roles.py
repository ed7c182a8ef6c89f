"""Roles that a person sets: manual_roles/WEIGHTS.parquet, one file for each model's weights.

They stand on the weights alone, override what any method finds, and stand alone where none has
looked yet; SQL shows them in `head_roles`.
"""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part

MANUAL_ROLES: Final = "manual_roles"

# where they were kept in format 1: of unknown weights
OLD_FILE: Final = "manual_roles.json"


def manual_roles_schema() -> pa.Schema:
    """Return the schema of `manual_roles/WEIGHTS.parquet`: one row per head."""
    return pa.schema(
        [
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("role", pa.string(), "The head's role."),
            field("note", pa.string(), "Why, in one line.", null=True),
        ]
    )


KIND: Final = Kind(
    MANUAL_ROLES,
    manual_roles_schema(),
    (),
    command="roles set",
    stands_on=(Part.WEIGHTS,),
    by_hand=True,
)
