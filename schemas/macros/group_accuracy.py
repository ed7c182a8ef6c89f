"""Accuracy by group with chosen heads mean-ablated."""

from typing import Final

from schemas.relations import CLASSIFIER_P, HEADS_P, SCAN_P, Column, Macro, Parameter

MACRO: Final = Macro(
    "group_accuracy",
    "Accuracy by group before and after mean-ablating heads: one row per group, then their mean "
    "over pictures, then the worst group's.",
    (
        CLASSIFIER_P,
        HEADS_P,
        Parameter("by", "Column, or columns: label, or names in the metadata.", "['label']"),
        SCAN_P,
    ),
    (
        Column("kind", "VARCHAR", "group, mean or worst."),
        Column("members", "VARCHAR[]", "The group's values, in the order of `by`."),
        Column("n", "BIGINT", "Pictures whose label is one of the classes."),
        Column("before", "DOUBLE", "Accuracy with nothing ablated, 0..1."),
        Column("after", "DOUBLE", "Accuracy with the heads mean-ablated, 0..1."),
        Column(
            "members_after",
            "VARCHAR[]",
            "In the row `worst`: the group of the lowest accuracy after, where `members` is that "
            "of the lowest before.",
        ),
    ),
    "FROM group_accuracy('kinds', ['L4H1', 'L5H4'], by := 'background')",
    order=("kind", "members"),
)
