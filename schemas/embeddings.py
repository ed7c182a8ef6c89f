"""Embeddings with heads mean-ablated, written for use elsewhere; no part of the warehouse."""

import pyarrow as pa

from schemas.files import field, images_schema, vector_of

_AS_IT_IS = (
    "The unit-norm image embedding with the ablated heads replaced by their means; not made "
    "unit-norm again, so that dot products with class weights are the ablated logits."
)
_UNIT = (
    "The unit-norm image embedding with the ablated heads replaced by their means, made unit-norm "
    "again."
)


def embeddings_schema(d_joint: int, *, unit: bool) -> pa.Schema:
    """Return the schema of an exported file: one row per picture."""
    return pa.schema(
        [
            images_schema(d_joint).field("key"),
            field("embedding", vector_of(pa.float32(), d_joint), _UNIT if unit else _AS_IT_IS),
        ]
    )
