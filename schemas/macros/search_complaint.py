"""What is wrong with how a search is asked for."""

from typing import Final

from schemas.relations import Macro, Parameter

MACRO: Final = Macro(
    "search_complaint",
    "What is wrong with the metric or the number of rows asked for; NULL when both can be used.",
    (Parameter("metric", "Metric."), Parameter("k", "Rows wanted.")),
    (),
    "SELECT search_complaint('l2', 10)",
)
