"""Where the pictures of a shard are."""

from typing import Final

from schemas.relations import ANY_SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "image_file",
    "Path of the Parquet file of a shard's pictures.",
    (
        ANY_SCAN_P,
        Parameter("shard", "Shard."),
    ),
    (),
    "SELECT image_file(scan_id, shard) FROM image_index LIMIT 1",
)
