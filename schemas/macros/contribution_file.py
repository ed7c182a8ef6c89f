"""Where the contributions of a layer of a shard are."""

from typing import Final

from schemas.relations import ANY_SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "contribution_file",
    "Path of the Parquet file of one layer of a shard.",
    (
        ANY_SCAN_P,
        Parameter("shard", "Shard."),
        Parameter("layer", "Layer, from 0."),
    ),
    (),
    "SELECT contribution_file(scan_id, shard, 5) FROM image_index LIMIT 1",
)
