"""A column of a picture's metadata."""

from typing import Final

from schemas.relations import Macro, Parameter

MACRO: Final = Macro(
    "metadata_value",
    "A column of a picture's metadata, spelled as plain_value does; NULL where there is none.",
    (
        Parameter("metadata", "Metadata, as in images.metadata."),
        Parameter("name", "Column."),
    ),
    (),
    "SELECT metadata_value(metadata, 'background') AS background, count(*) AS n FROM images "
    "GROUP BY ALL",
)
