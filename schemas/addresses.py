"""Addresses that may hold secrets: what of them may be said and stored."""

from typing import Annotated
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


Address = Annotated[str | None, PlainSerializer(without_credentials)]
"""A configuration's address: whatever is written of the configuration has no credentials in it."""
