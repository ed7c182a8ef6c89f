"""Listings that are compressed as a whole: opened as they are named."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from itertools import product
from typing import Any

from pipeline.sources.paths import Found, local_path, open_binary, suffix_of
from pipeline.sources.remote import read_listing

_DECOMPRESS: dict[str, Callable[..., Any]] = {
    "gz": gzip.open,
    "bz2": bz2.open,
    "xz": lzma.open,
}


def with_compressed(*suffixes: str) -> frozenset[str]:
    """Return the suffixes, and each with `.gz`, `.bz2` and `.xz` behind it."""
    return frozenset(suffixes) | {f"{s}.{c}" for s, c in product(suffixes, _DECOMPRESS)}


def open_listing(file: Found) -> Any:
    """Open a listing for reading as bytes, decompressed if its suffix says so."""
    last = suffix_of(file.name).rpartition(".")[2]
    raw = open_binary(file.uri) if local_path(file.uri) else io.BytesIO(read_listing(file.uri))
    return _DECOMPRESS[last](raw) if last in _DECOMPRESS else raw
