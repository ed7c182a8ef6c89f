"""How far each head has moved since an earlier snapshot: head_drift/head_drift.parquet."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.relations import SCAN, SNAPSHOT, STALE, Table, columns_of

HEAD_DRIFT: Final = "head_drift"


def head_drift_schema() -> pa.Schema:
    """Return the schema of `head_drift.parquet`: a row per stored head."""
    return pa.schema(
        [
            field("layer", pa.int16(), "Layer of the head, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("name", pa.string(), "Name of the head, as L22H11."),
            field("since", pa.int64(), "The earlier snapshot."),
            field("n_since", pa.int64(), "Pictures of the earlier snapshot."),
            field("n", pa.int64(), "Pictures of the newest one."),
            field(
                "drift",
                pa.float64(),
                "Squared Frechet distance of the two distributions, each by mean and covariance, "
                "over the earlier total variance; NULL where no covariance is kept.",
                null=True,
            ),
            field(
                "mean_shift",
                pa.float64(),
                "Length of the means' difference over the square root of the earlier total "
                "variance; NULL where there is none.",
                null=True,
            ),
            field(
                "variance_ratio",
                pa.float64(),
                "Total variance, now over earlier; NULL where there was none.",
                null=True,
            ),
        ]
    )


KIND: Final = Kind(
    HEAD_DRIFT,
    head_drift_schema(),
    (
        Table(
            "head_drift",
            "table",
            "One row per head: how far the distribution of what it writes has moved between an "
            "earlier snapshot and the newest.",
            (SCAN, *columns_of(head_drift_schema()), SNAPSHOT, STALE),
            "SELECT name, drift, mean_shift, variance_ratio FROM head_drift "
            "ORDER BY drift DESC LIMIT 5",
        ),
    ),
    command="drift",
    stands_on=(Part.CONFIGURATION, Part.PICTURES, Part.OPTIONS),
)
