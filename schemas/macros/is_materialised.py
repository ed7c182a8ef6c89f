"""Whether a head is stored as native vectors."""

from typing import Final

from schemas.relations import ANY_SCAN_P, HEAD_OR_NULL_P, LAYER_P, Macro

MACRO: Final = Macro(
    "is_materialised",
    "Whether a head's centred unit vectors are stored in the database.",
    (
        LAYER_P,
        HEAD_OR_NULL_P,
        ANY_SCAN_P,
    ),
    (),
    "SELECT name, is_materialised(name, NULL, scan_id) FROM heads",
)
