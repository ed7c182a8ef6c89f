"""Results about classes: zero-shot classifiers, logits, and heads that carry a spurious cue.

Each is a file `scans/SCAN/KIND/NAME.parquet`; `image_logits` and `head_logits` have the name of
their classifier. A logit is a cosine: the model's logit scale is not applied.
"""

from typing import Final

import pyarrow as pa

from schemas.files import field, vector_of

CLASSIFIERS: Final = "classifiers"
IMAGE_LOGITS: Final = "image_logits"
HEAD_LOGITS: Final = "head_logits"
SPURIOUS_HEADS: Final = "spurious_heads"

_CLASS = field("class", pa.int32(), "Number of the class within its classifier, from 0.")
_IMAGE_ID = field("image_id", pa.int64(), "The picture, as in images.")
_LOGIT = field("logit", pa.float32(), "Cosine of the picture's embedding and the class weight.")
_TRUTH = field(
    "truth",
    pa.bool_(),
    "Whether this is the picture's own class; NULL where its label is no class of this classifier.",
    null=True,
)


def _floats(comment: str, name: str) -> pa.Field:
    return field(name, pa.list_(pa.field("element", pa.float32(), nullable=False)), comment)


def classifier_schema(d_joint: int) -> pa.Schema:
    """Return the schema of `classifiers/NAME.parquet`: one row per class."""
    return pa.schema(
        [
            _CLASS,
            field("class_name", pa.string(), "The class as it stands in a prompt."),
            field("label", pa.string(), "The label that pictures of this class carry."),
            field(
                "weight",
                vector_of(pa.float32(), d_joint),
                "Unit-norm class weight: the mean of its prompts' unit embeddings, renormalised.",
            ),
            _floats(
                "Mean logit of each stored head over all pictures of the scan, by layer and head.",
                "head_means",
            ),
        ]
    )


def image_logits_schema() -> pa.Schema:
    """Return the schema of `image_logits/NAME.parquet`: one row per picture, class."""
    return pa.schema([_IMAGE_ID, _CLASS, _LOGIT, _TRUTH])


def head_logits_schema() -> pa.Schema:
    """Return the schema of `head_logits/NAME.parquet`: one row per picture and class.

    All heads of a picture and class lie in one array, so that ablating any set of them is one
    inner product with a mask: 10 times faster than adding up rows of single heads.
    """
    return pa.schema(
        [
            _IMAGE_ID,
            _CLASS,
            _LOGIT,
            _TRUTH,
            _floats("Logit of each stored head, by layer and head.", "heads"),
            field("rest", pa.float32(), "The logit less those of the stored heads."),
        ]
    )


def spurious_heads_schema() -> pa.Schema:
    """Return the schema of `spurious_heads/NAME.parquet`: one row per stored head."""
    return pa.schema(
        [
            field("classifier", pa.string(), "The zero-shot classifier of the target."),
            field("target", pa.string(), "Column that the classifier is about."),
            field("attribute", pa.string(), "Column that ought not to matter."),
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("rank", pa.int32(), "Place in the order of scores, from 0."),
            field(
                "score",
                pa.float64(),
                "Variance of the head's logits between attribute values less between target "
                "classes, as a share of the logits' own variance.",
            ),
            field("about_attribute", pa.float64(), "Share of the head's variance by attribute."),
            field("about_target", pa.float64(), "Share of the head's variance by target."),
            field("chosen", pa.bool_(), "Whether the head is in the set chosen to switch off."),
            field(
                "step",
                pa.int32(),
                "When the greedy choice took it, from 0; NULL otherwise.",
                null=True,
            ),
        ]
    )
