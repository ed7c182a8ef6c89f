"""Paths and URLs of a source: which files it names, and a fingerprint of each.

A local file is named by its absolute path, or by a percent-encoded `file://` URL when its name is
not valid UTF-8; anything else by its fsspec URL. A fingerprint is made of what the file system
says without reading: size and mtime in nanoseconds of a local file; size and ETag, checksum or
time of change of a remote one. A file rewritten with the same size and mtime is not noticed.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import fsspec

from schemas.errors import SourceError, UsageError

# heic and heif are listed so that they are rejected by name, not passed over in silence.
PICTURE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .jp2 .j2k .avif "
    ".ppm .pgm .pbm .pnm .pfm .heic .heif".split()
)
TAR_SUFFIXES = frozenset([".tar"])
PARQUET_SUFFIXES = frozenset([".parquet", ".pq"])
MISSING = "missing"

_VERSION_KEYS = (
    "ETag etag md5Hash content_md5 checksum crc32c sha256 mtime LastModified last_modified "
    "updated modified created"
).split()
_MAGIC = re.compile(r"[*?\[{]")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


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


@dataclass
class Tree:
    """The files below a folder or named by a pattern, by kind; hidden ones are not looked at."""

    pictures: list[Found] = field(default_factory=list)
    tars: list[Found] = field(default_factory=list)
    parquets: list[Found] = field(default_factory=list)
    listings: list[Found] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


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
    """Name a local file by its absolute path, or by a `file://` URL if that is not UTF-8."""
    if path.isascii():
        return path
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file://" + quote_from_bytes(os.fsencode(path))
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


def filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path in it.

    Raises:
        UsageError: there is no such protocol, or its package is not installed.
    """
    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {error}") from None


def open_binary(uri: str) -> Any:
    """Open a member's file or container for reading: a binary file of Python's or of fsspec's."""
    path = local_path(uri)
    if path is not None:
        return Path(path).open("rb")
    fs, inside = filesystem(uri)
    return fs.open(inside, "rb")


def version_of(uri: str) -> str:
    """Return the fingerprint of one file; `missing` if there is none to be looked at."""
    path = local_path(uri)
    if path is None:
        fs, inside = filesystem(uri)
        try:
            return remote_version(fs.info(inside))
        except OSError:
            return MISSING
    try:
        return _local_version(os.stat(path))  # noqa: PTH116  Path.stat costs twice the time
    except (OSError, ValueError):
        return MISSING


def remote_version(info: dict[str, Any]) -> str:
    """Return the fingerprint of a file from what fsspec says of it."""
    for name in _VERSION_KEYS:
        if (value := info.get(name)) is not None:
            text = value.isoformat() if hasattr(value, "isoformat") else str(value)
            return f"{info.get('size')}-{text.strip(chr(34))}"
    return f"{info.get('size')}"


def exists(source: str) -> bool:
    """Say whether a person's path or URL names something, taken literally."""
    path = as_local(source)
    if path is not None:
        return os.path.lexists(path)
    fs, inside = filesystem(source)
    return bool(fs.exists(inside))


def is_folder(source: str) -> bool:
    """Say whether a person's path or URL is a folder."""
    path = as_local(source)
    if path is not None:
        return Path(path).is_dir()
    fs, inside = filesystem(source)
    return bool(fs.isdir(inside))


def is_pattern(source: str) -> bool:
    """Say whether the text has braces or wildcards and is not itself the name of a file."""
    return _MAGIC.search(source) is not None and not exists(source)


def expand_braces(pattern: str) -> list[str]:
    """Expand `{000..009}` and `{a,b}` as bash does, left to right; other braces stay."""
    for match in _BRACES.finditer(pattern):
        inner = match[1]
        if bounds := _RANGE.fullmatch(inner):
            first, last = int(bounds[1]), int(bounds[2])
            step = 1 if first <= last else -1
            padded = bounds[1].startswith("0") or bounds[2].startswith("0")
            width = max(len(bounds[1]), len(bounds[2])) if padded else 0
            choices = [f"{i:0{width}d}" for i in range(first, last + step, step)]
        elif "," in inner:
            choices = inner.split(",")
        else:
            continue
        head, tail = pattern[: match.start()], pattern[match.end() :]
        return [full for choice in choices for full in expand_braces(head + choice + tail)]
    return [pattern]


def tree_of(source: str) -> Tree:
    """Find the files that a folder, a pattern or a file's path names.

    Raises:
        SourceError: nothing is there, or a folder below cannot be read.
    """
    tree = Tree()
    if is_pattern(source):
        found = _matches(source)
    elif is_folder(source):
        local = as_local(source)
        found = _walk_remote(source) if local is None else _walk(local)
    elif exists(source):
        found = iter([one_file(source)])
    else:
        raise SourceError(
            f"no such file or folder: {source}; expected a folder of pictures, a CSV, TSV, JSONL "
            "or Parquet listing, webdataset tars, or Parquet with image bytes"
        )
    for file in found:
        suffix = suffix_of(file.name)
        if suffix in PICTURE_SUFFIXES:
            tree.pictures.append(file)
        elif suffix in TAR_SUFFIXES:
            tree.tars.append(file)
        elif suffix in PARQUET_SUFFIXES:
            tree.parquets.append(file)
        else:
            tree.others[suffix or "no suffix"] += 1
            if suffix.split(".")[1:2] and suffix.split(".")[1] in _LISTING_STEMS:
                tree.listings.append(file)
    for kind in (tree.tars, tree.parquets, tree.listings):
        kind.sort(key=lambda file: file.name)
    return tree


_LISTING_STEMS = frozenset(["csv", "tsv", "jsonl", "ndjson"])


def one_file(source: str) -> Found:
    """Return the file that a person's path or URL names, under its own name."""
    path = as_local(source)
    uri = to_uri(path) if path is not None else source
    name = (path or source).rstrip("/").rsplit("/", 1)[-1]
    return Found(printable(name), uri, version_of(uri))


def _local_version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _walk(root: str) -> Iterator[Found]:
    """Yield the files below a local folder, following links but not in circles."""
    root = root.rstrip("/")
    status = os.stat(root or "/")  # noqa: PTH116
    yield from _walk_below(root, "", frozenset([(status.st_dev, status.st_ino)]))


def _walk_below(root: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[Found]:
    folder = f"{root}/{prefix}"
    try:
        with os.scandir(folder) as entries:
            found = [e for e in entries if not e.name.startswith(".")]
    except OSError as error:
        raise SourceError(
            f"cannot list {printable(folder)}: {error.strerror}; make it readable, or move it out "
            "of the source"
        ) from None
    for entry in found:
        name = prefix + entry.name
        try:
            status = entry.stat()
        except OSError:
            # a link to nothing, or a file that vanished: its reading will say so
            yield Found(printable(name), to_uri(f"{root}/{name}"), MISSING)
            continue
        if stat.S_ISDIR(status.st_mode):
            here = (status.st_dev, status.st_ino)
            if here not in above:
                yield from _walk_below(root, name + "/", above | {here})
        else:
            yield Found(printable(name), to_uri(f"{root}/{name}"), _local_version(status))


def _walk_remote(source: str) -> Iterator[Found]:
    fs, root = filesystem(source)
    root = root.rstrip("/")
    for path, info in fs.find(root, detail=True).items():
        name = path[len(root) :].lstrip("/")
        if info.get("type") != "directory" and not any(
            part.startswith(".") for part in name.split("/")
        ):
            yield Found(name, fs.unstrip_protocol(path), remote_version(info))


def _matches(pattern: str) -> Iterator[Found]:
    """Yield the files that a pattern names, under their path below its last plain folder."""
    local = as_local(pattern)
    whole = pattern if local is None else local
    magic = _MAGIC.search(whole)
    assert magic is not None
    base = whole[: whole.rfind("/", 0, magic.start()) + 1]
    prefix = filesystem(base)[1].rstrip("/") + "/" if local is None else base
    # the same file may match twice
    paths = dict.fromkeys(path for one in expand_braces(whole) for path in _glob(one, pattern))
    for path in paths:
        uri = to_uri(path) if local is not None else filesystem(base)[0].unstrip_protocol(path)
        yield Found(printable(path.removeprefix(prefix)), uri, version_of(uri))


def _glob(one: str, pattern: str) -> list[str]:
    """Return the files that a pattern without braces names, as paths of its file system."""
    fs, inside = filesystem(one)
    if exists(one):
        return [inside]
    if not re.search(r"[*?\[]", inside):
        raise SourceError(f"no such file: {one}, from the pattern {pattern}")
    found = [path for path in sorted(fs.glob(inside)) if not fs.isdir(path)]
    if not found:
        raise SourceError(f"no file matches {one}; check the path, and quote the pattern")
    return found
