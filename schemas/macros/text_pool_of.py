"""The pool of texts that a question about the text tower is about."""

from typing import Final

from schemas.relations import ANY_SCAN_P, Macro, Parameter

MACRO: Final = Macro(
    "text_pool_of",
    "The pool of texts asked for: the one named, or else the one that headatlas texts decomposed "
    "last; NULL where there is none.",
    (Parameter("pool", "Pool, or NULL."), ANY_SCAN_P),
    (),
    "SELECT scan_id, text_pool_of(NULL, scan_id) FROM scans",
)
