"""What heads do, said in several ways: roles, attributes of the pictures, stability of picks.

Each is a file of a scan: `roles/BASIS.parquet`, `attributes/attributes.parquet`,
`stability/BASIS.parquet`. Roles set by hand are kept in `manual_roles.json` and are copied into
every basis' file, so that a rebuild never loses them.
"""

from typing import Final

import pyarrow as pa

from schemas.files import field

ROLES: Final = "roles"
ATTRIBUTES: Final = "attributes"
STABILITY: Final = "stability"
MANUAL_ROLES: Final = "manual_roles.json"

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


def stability_schema() -> pa.Schema:
    """Return the schema of `stability/BASIS.parquet`: one row per head and pick."""
    return pa.schema(
        [
            _LAYER,
            _HEAD,
            field("rank", pa.int16(), "Order in which the text was picked, from 0."),
            field("description_id", pa.int64(), "The description, within the basis' pool."),
            field(
                "survival",
                pa.float64(),
                "Share of bootstrap samples in which the text is picked among as many.",
            ),
        ]
    )
