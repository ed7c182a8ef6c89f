"""The Parquet files of a warehouse: one Arrow schema each, with the meaning of every column.

Each field carries its meaning as Arrow metadata under `comment`; SQL comments and the docs are
made from it, so that a column is described once.
"""

from typing import Final

import pyarrow as pa

CONTRIBUTIONS: Final = "contributions.parquet"
MLP: Final = "mlp.parquet"
IMAGES: Final = "images.parquet"
MOMENTS: Final = "moments.parquet"
REJECTS: Final = "rejects.parquet"
# By what --store names: sums over a shard's pictures.
SUMS: Final = {"edges": "edges.parquet", "means": "means.parquet"}


def field(name: str, kind: pa.DataType, comment: str, *, null: bool = False) -> pa.Field:
    """Return an Arrow field with its meaning attached; not nullable unless said."""
    return pa.field(name, kind, nullable=null, metadata={"comment": comment})


def comment_of(column: pa.Field) -> str:
    """Return the meaning that `field` attached."""
    comment: bytes = (column.metadata or {}).get(b"comment", b"")
    return comment.decode()


def vector_of(kind: pa.DataType, width: int) -> pa.DataType:
    """Return a fixed-size list of non-null `kind`: read twice as fast as a nullable one."""
    return pa.list_(pa.field("element", kind, nullable=False), width)


_LAYER = field("layer", pa.int16(), "Layer of the image encoder, from 0.")
_HEAD = field("head", pa.int16(), "Head within the layer, from 0.")
_DIRECTION = field("direction", pa.int16(), "Number of the direction in the head's frame, from 0.")
_IMAGE_ID = field(
    "image_id", pa.int64(), "Number of the picture, unique within a scan, stable while unchanged."
)


def contributions_schema(d_head: int) -> pa.Schema:
    """Return the schema of `layer=L/contributions.parquet`; one row group per head."""
    return pa.schema(
        [
            _LAYER,
            _HEAD,
            _IMAGE_ID,
            field(
                "vector",
                vector_of(pa.float16(), d_head),
                "Direct contribution of the head to the unit-norm embedding, in the head frame Q: "
                "c / norm = Q · vector.",
            ),
        ]
    )


def mlp_schema(d_joint: int) -> pa.Schema:
    """Return the schema of `layer=L/mlp.parquet` (with --store mlp)."""
    return pa.schema(
        [
            _LAYER,
            _IMAGE_ID,
            field(
                "vector",
                vector_of(pa.float16(), d_joint),
                "Direct contribution of the layer's MLP to the unit-norm embedding.",
            ),
        ]
    )


def images_schema(d_joint: int) -> pa.Schema:
    """Return the schema of `images.parquet`."""
    return pa.schema(
        [
            _IMAGE_ID,
            field("key", pa.string(), "The picture's name: relative path, tar!member or file#row."),
            field("uri", pa.string(), "Where the picture was read: a path or URL."),
            field("width", pa.int32(), "Width in pixels, as displayed (EXIF orientation applied)."),
            field(
                "height", pa.int32(), "Height in pixels, as displayed (EXIF orientation applied)."
            ),
            field("label", pa.string(), "Label from the folder or the --labels column.", null=True),
            field("metadata", pa.string(), "Other columns of the listing, as a JSON object."),
            field("sigma", pa.float32(), "Scale of the last LayerNorm, sqrt(var + eps)."),
            field("norm", pa.float32(), "Length of the embedding before it was made unit-norm."),
            field("embedding", vector_of(pa.float32(), d_joint), "Unit-norm image embedding."),
            field("fingerprint", pa.string(), "Changes when the picture's bytes change."),
        ]
    )


def frames_schema(d_joint: int) -> pa.Schema:
    """Return the schema of `frames-DIGEST.parquet`: the head frames for SQL; one row group a head.

    Heads that are stored in the joint space itself have no rows.
    """
    return pa.schema(
        [
            _LAYER,
            _HEAD,
            _DIRECTION,
            field(
                "vector",
                vector_of(pa.float32(), d_joint),
                "Column of Q: unit-norm, in the joint space. A head's inner products with a text, "
                "by direction, are the text in the head's frame.",
            ),
        ]
    )


def rejects_schema() -> pa.Schema:
    """Return the schema of `rejects.parquet`."""
    return pa.schema(
        [
            field("key", pa.string(), "The picture's name, as in images."),
            field("uri", pa.string(), "Where the picture was looked for."),
            field("stage", pa.string(), "Where it failed: read, decode or model."),
            field("reason", pa.string(), "Why it could not be used."),
            field("fingerprint", pa.string(), "Changes when the picture's bytes change."),
        ]
    )


def moments_schema() -> pa.Schema:
    """Return the schema of `moments.parquet`: one row per component, mergeable exactly.

    `mean` and `embedding_mean` have d_head numbers for heads, in the head frame, and d_joint for
    every other component. `m2` is row-major d_head x d_head for heads; for the others it holds one
    number, the trace.
    """
    doubles = pa.list_(pa.field("element", pa.float64(), nullable=False))
    return pa.schema(
        [
            field(
                "component", pa.string(), "head, mlp, bias, init, const, or embedding (the sum)."
            ),
            field("layer", pa.int16(), "Layer, from 0; -1 where the component has none."),
            field("head", pa.int16(), "Head, from 0; -1 where the component has none."),
            field("n", pa.int64(), "Pictures counted."),
            field("mean", doubles, "Mean vector over the pictures."),
            field(
                "m2",
                doubles,
                "Sum over pictures of (v - mean)(v - mean)^T; its trace alone if no head.",
            ),
            field("embedding_mean", doubles, "Mean embedding, in the component's frame."),
            field("comoment", pa.float64(), "Sum over pictures of <v - mean, e - mean(e)>."),
        ]
    )


def sums_schema() -> pa.Schema:
    """Return the schema of `edges.parquet` and `means.parquet` (with --store edges, means).

    They are added up over pictures, so those of several shards are those of all their pictures.
    """
    doubles = pa.list_(pa.field("element", pa.float64(), nullable=False))
    sizes = pa.list_(pa.field("element", pa.int64(), nullable=False))
    return pa.schema(
        [
            field("what", pa.string(), "What is summed."),
            field("layer", pa.int16(), "Layer, from 0; -1 for second-order effects."),
            field("count", pa.int64(), "Pictures counted."),
            field("shape", sizes, "Lengths of the axes."),
            field("sums", doubles, "The sums, the last axis first to vary."),
        ]
    )


def pool_schema() -> pa.Schema:
    """Return the schema of `pools/POOL/pool.parquet`."""
    return pa.schema(
        [
            field(
                "description_id", pa.int64(), "Number of the description within its pool, from 0."
            ),
            field("text", pa.string(), "The description."),
            field(
                "property",
                pa.string(),
                "What the description is about: colour, place, ...",
                null=True,
            ),
            field(
                "source",
                pa.string(),
                "Where it comes from: a file, a language model, words, random.",
            ),
        ]
    )
