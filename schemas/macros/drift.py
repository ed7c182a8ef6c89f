"""The heads that have moved most since an earlier snapshot."""

from typing import Final

from schemas.relations import K_P, SCAN, SCAN_P, Column, Macro, columns_of
from schemas.results.head_drift import head_drift_schema

MACRO: Final = Macro(
    "drift",
    "The heads whose distribution has moved most since an earlier snapshot of the scan. Needs "
    "headatlas drift.",
    (K_P, SCAN_P),
    (
        Column("rank", "BIGINT", "Rank, from 0."),
        *columns_of(
            head_drift_schema(),
            *("name", "layer", "head", "drift", "mean_shift", "variance_ratio", "since"),
        ),
        SCAN,
    ),
    "SELECT name, drift, mean_shift, variance_ratio FROM drift(k := 5)",
    order=("rank",),
)
