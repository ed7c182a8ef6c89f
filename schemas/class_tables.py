"""Macros about roles and classes: ablation by SQL."""

from typing import Final

from schemas.files import images_schema
from schemas.relations import SCAN, Column, Macro, Parameter, columns_of

_CLASSIFIER_P: Final = Parameter("classifier", "Zero-shot classifier that has head_logits.")
_HEADS_P: Final = Parameter(
    "heads", "Names of the heads to mean-ablate, as ['L22H11', 'L23H6']; or a subquery of a list."
)
_SCAN_P: Final = Parameter("scan", "Scan; by default the newest.", ":default_scan")

_ABLATED: Final = (
    *columns_of(images_schema(1), "image_id", "key", "label"),
    Column("truth", "VARCHAR", "Name of the picture's own class; NULL where it has none."),
    Column("before", "VARCHAR", "Class predicted with nothing ablated."),
    Column("after", "VARCHAR", "Class predicted with the heads mean-ablated."),
    Column("correct_before", "BOOLEAN", "Whether `before` is right; NULL without truth."),
    Column("correct_after", "BOOLEAN", "Whether `after` is right; NULL without truth."),
    Column("logit_before", "FLOAT", "Cosine with the class predicted before."),
    Column("logit_after", "FLOAT", "The same after; the embedding is not made unit-norm again."),
    SCAN,
)

# in the order of creation
CLASS_MACROS: Final = (
    Macro(
        "classifier_complaint",
        "What is wrong with the classifier asked for; NULL when it can be ablated.",
        (Parameter("asked", "Classifier."), Parameter("scan", "Scan.")),
        (),
        "SELECT classifier_complaint('nothing', 'no such scan')",
    ),
    Macro(
        "heads_complaint",
        "What is wrong with a list of heads; NULL when all exist.",
        (Parameter("names", "Names of heads."), Parameter("scan", "Scan.")),
        (),
        "SELECT heads_complaint(['L2H1'], scan_id) FROM scans",
    ),
    Macro(
        "role_heads",
        "Names of the heads that carry a role; NULL where none does.",
        (
            Parameter("asked_role", "Role."),
            Parameter("scan", "Scan."),
            Parameter("asked_basis", "TextSpan basis, or NULL for any."),
        ),
        (),
        "SELECT scan_id, role_heads('place', scan_id, NULL) FROM scans",
    ),
    Macro(
        "role_complaint",
        "What is wrong with the role asked for; NULL when some head carries it.",
        (
            Parameter("asked_role", "Role."),
            Parameter("scan", "Scan."),
            Parameter("asked_basis", "TextSpan basis, or NULL for any."),
        ),
        (),
        "SELECT role_complaint('place', scan_id, NULL) FROM scans",
    ),
    Macro(
        "ablate",
        "Predictions with a set of heads replaced by their means over all pictures of the scan; "
        "sigma and norm stay as they are.",
        (_CLASSIFIER_P, _HEADS_P, _SCAN_P),
        _ABLATED,
        "SELECT key, before, after FROM ablate('kinds', ['L2H1']) WHERE before <> after",
    ),
    Macro(
        "ablate_role",
        "Predictions with all heads that carry a role mean-ablated, as by ablate.",
        (
            _CLASSIFIER_P,
            Parameter("role", "Role of the heads, as in head_roles."),
            _SCAN_P,
            Parameter("basis", "TextSpan basis of the role; by default any.", "NULL"),
        ),
        _ABLATED,
        "SELECT key, before, after FROM ablate_role('kinds', 'place') WHERE before <> after",
    ),
    Macro(
        "group_accuracy",
        "Accuracy by group before and after mean-ablating heads: one row per group, then their "
        "mean over pictures, then the worst group's.",
        (
            _CLASSIFIER_P,
            _HEADS_P,
            Parameter("by", "Columns: label, or names in the metadata.", "['label']"),
            _SCAN_P,
        ),
        (
            Column("kind", "VARCHAR", "group, mean or worst."),
            Column("members", "VARCHAR[]", "The group's values, in the order of `by`."),
            Column("n", "BIGINT", "Pictures whose label is one of the classes."),
            Column("before", "DOUBLE", "Accuracy with nothing ablated, 0..1."),
            Column("after", "DOUBLE", "Accuracy with the heads mean-ablated, 0..1."),
        ),
        "FROM group_accuracy('kinds', ['L2H1'], by := ['label', 'place'])",
    ),
)
