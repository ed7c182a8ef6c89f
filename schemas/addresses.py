"""Addresses that may hold secrets: what of them may be said and stored."""

import re
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import PlainSerializer


def without_credentials(url: str | None) -> str | None:
    """Return an address without its user and password, and with the values of its query starred."""
    if url is None:
        return None
    parts = urlsplit(url)
    query = "&".join(f"{name}=***" for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`]+")


def text_without_credentials(text: str) -> str:
    """Return a text whose addresses have no credentials in them, as `without_credentials`."""
    return _ADDRESS.sub(_cleaned, text)


def _cleaned(found: re.Match[str]) -> str:
    try:
        return str(without_credentials(found[0]))
    except ValueError:  # no address after all
        return re.sub(r"//.*@", "//", found[0])


Address = Annotated[str | None, PlainSerializer(without_credentials)]
"""A configuration's address: whatever is written of the configuration has no credentials in it."""
