"""What is wrong with a classifier asked for."""

from typing import Final

from schemas.relations import ANY_SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "classifier_complaint",
    "What is wrong with the classifier asked for; NULL when it can be ablated.",
    (
        Parameter("asked", "Classifier."),
        ANY_SCAN_P,
    ),
    (),
    "SELECT classifier_complaint('nothing', 'no such scan')",
)
