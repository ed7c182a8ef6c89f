"""Where the head frames of a scan are."""

from typing import Final

from schemas.relations import ANY_SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "frame_file",
    "Path of the Parquet file of a scan's head frames.",
    (ANY_SCAN_P, Parameter("file", "Name of the file, which holds the frames' digest.")),
    (),
    "SELECT frame_file('demo', 'frames-0123456789abcdef.parquet')",
)
