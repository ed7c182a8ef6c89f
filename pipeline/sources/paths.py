"""Paths and URLs: how a file is named, opened, and fingerprinted.

A local file is named by its absolute path, or by a percent-encoded `file://` URL when its name is
not valid UTF-8; anything else by its fsspec URL. A fingerprint is made of what the file system
says without reading: size and mtime in nanoseconds of a local file; size and ETag, checksum or
time of change of a remote one. A file rewritten with the same size and mtime is not noticed.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import fsspec

from pipeline.sources import remote
from pipeline.sources.remote import filesystem
from schemas.errors import UsageError
from schemas.members import UNREACHABLE

# heic and heif are listed so that they are rejected by name, not passed over in silence.
PICTURE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .jp2 .j2k .avif "
    ".ppm .pgm .pbm .pnm .pfm .heic .heif".split()
)
PARQUET_SUFFIXES = frozenset([".parquet", ".pq"])
MISSING = "missing"

_VERSION_KEYS = (
    "ETag etag md5Hash content_md5 checksum crc32c sha256 mtime LastModified last_modified "
    "updated modified created"
).split()


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a source.

    Attributes:
        name: POSIX path below the source, valid UTF-8; what keys are made of.
        uri: where it is read.
        version: its fingerprint; `missing` when it cannot be looked at.
    """

    name: str
    uri: str
    version: str


def suffix_of(name: str) -> str:
    """Return the lower-case suffix with its dot; `.csv.gz` and `.tar.gz` count as one."""
    base = name.rsplit("/", 1)[-1].lower()
    stem, dot, last = base.rpartition(".")
    if not dot or not stem:
        return ""
    if last in ("gz", "bz2", "xz", "zst") and "." in stem:
        return f".{stem.rpartition('.')[2]}.{last}"
    return f".{last}"


def printable(name: str) -> str:
    """Return a file name as valid UTF-8: bytes that are not become `\\xNN`."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def to_uri(path: str) -> str:
    """Name a local file by its absolute path, or by a `file://` URL if that is not UTF-8.

    Text that can be no file's name (a lone surrogate out of JSON) is named as it is printed.
    """
    if path.isascii():
        return path
    try:
        path.encode()
    except UnicodeEncodeError:
        try:
            return "file://" + quote_from_bytes(os.fsencode(path))
        except UnicodeEncodeError:
            return path.encode("utf-8", "backslashreplace").decode()
    return path


def local_path(uri: str) -> str | None:
    """Return the local path that a member's `uri` stands for; None for a remote URL."""
    if uri.startswith("file://"):
        return os.fsdecode(unquote_to_bytes(uri[7:]))
    return None if "://" in uri else uri


def as_local(source: str) -> str | None:
    """Return what a person wrote as an absolute local path; None for a remote URL."""
    for scheme in ("file://", "local://"):
        if source.startswith(scheme):
            plain = source.removeprefix(scheme)
            decoded = os.fsdecode(unquote_to_bytes(plain))
            plain = decoded if Path(decoded).exists() and not Path(plain).exists() else plain
            return os.path.abspath(plain)  # noqa: PTH100  Path.resolve would follow links
    if "://" in source or "::" in source:
        return None
    return os.path.abspath(Path(source).expanduser())  # noqa: PTH100


def open_binary(uri: str) -> Any:
    """Open a member's file or container for reading: a binary file of Python's or of fsspec's."""
    path = local_path(uri)
    if path is not None:
        return Path(path).open("rb")
    fs, inside = filesystem(uri)
    return fs.open(inside, "rb")


def version_of(uri: str) -> str:
    """Return the fingerprint of one file; `missing` if there is none to be looked at.

    That of a remote file whose server does not answer is `unreachable`, which changes nothing.

    Raises:
        UsageError: the package that reads such URLs is not installed.
    """
    path = local_path(uri)
    if path is None:
        try:
            return remote_version(remote.info(uri))
        except UsageError:
            if uri.partition("://")[0] in fsspec.available_protocols():
                raise
            return MISSING
        except Exception as error:  # noqa: BLE001  each file system has errors of its own
            return UNREACHABLE if remote.passing(error) else MISSING
    try:
        return local_version(os.stat(path))  # noqa: PTH116  Path.stat costs twice the time
    except (OSError, ValueError):
        return MISSING


def remote_version(info: dict[str, Any]) -> str:
    """Return the fingerprint of a file from what fsspec says of it."""
    for name in _VERSION_KEYS:
        if (value := info.get(name)) is not None:
            text = value.isoformat() if hasattr(value, "isoformat") else str(value)
            return f"{info.get('size')}-{text.strip(chr(34))}"
    return f"{info.get('size')}"


def local_version(status: os.stat_result) -> str:
    """Return the fingerprint of a local file from what the system says of it."""
    return f"{status.st_size}-{status.st_mtime_ns}"
