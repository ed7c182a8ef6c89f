"""The pairing of pictures with texts that a question is about."""

from typing import Final

from schemas.relations import ANY_SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "pairing_of",
    "The pairing asked for: the one named, or else the scan's newest; NULL where it has none.",
    (Parameter("pairing", "Pairing, or NULL."), ANY_SCAN_P),
    (),
    "SELECT scan_id, pairing_of(NULL, scan_id) FROM scans",
)
