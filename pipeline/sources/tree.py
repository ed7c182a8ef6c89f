"""The files that a person's path, URL or pattern names, by their suffixes."""

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.sources import remote
from pipeline.sources.paths import (
    MISSING,
    Found,
    as_local,
    local_version,
    printable,
    remote_version,
    suffix_of,
    to_uri,
    version_of,
)
from pipeline.sources.remote import filesystem
from pipeline.sources.written import holder_of, written_among, written_around, written_in
from schemas.errors import SourceError, near_path

WEB = ("http://", "https://")
_MAGIC = re.compile(r"[*?\[{]")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass
class Tree:
    """The files of a source; hidden ones are counted and not looked at.

    Attributes:
        by_suffix: in order of name.
        named: whether a person named the files, by a path or a pattern, and not their folder.
        hidden: files and folders whose names start with a dot.
        written: files and folders that the program wrote, as a warehouse's; not looked at.
    """

    by_suffix: dict[str, list[Found]] = field(default_factory=dict)
    named: bool = False
    hidden: int = 0
    written: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        """Return how many files there are."""
        return sum(len(files) for files in self.by_suffix.values())


def exists(source: str) -> bool:
    """Say whether a person's path or URL names something, taken literally."""
    path = as_local(source)
    if path is not None:
        return os.path.lexists(path)
    if not source.startswith(WEB):
        fs, inside = filesystem(source)
        return bool(fs.exists(inside))
    try:
        remote.info(source)
    except FileNotFoundError:
        return False
    return True


def is_folder(source: str) -> bool:
    """Say whether a person's path or URL is a folder."""
    path = as_local(source)
    if path is not None:
        return Path(path).is_dir()
    if source.startswith(WEB) and suffix_of(_web_name(source)):
        # fsspec would look for links in what it is
        return False
    fs, inside = filesystem(source)
    return bool(fs.isdir(inside))


def is_pattern(source: str) -> bool:
    """Say whether the text has braces or wildcards and is not itself the name of a file."""
    written = source.partition("?")[0] if source.startswith(WEB) else source
    return _MAGIC.search(written) is not None and not exists(source)


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
        found, tree.named = _matches(source, tree), True
    elif is_folder(source):
        local = as_local(source)
        if local is None:
            every = list(_walk_remote(source, tree))
            found = _without(written_among(file.name for file in every), every, tree)
        else:
            found = _walk(local, tree)
    elif exists(source):
        found, tree.named = iter([one_file(source)]), True
    else:
        raise SourceError(
            f"no such file or folder: {source}; expected a folder of pictures, a CSV, TSV, JSONL "
            "or Parquet listing, webdataset tars, or Parquet with image bytes"
            f"{near_path(Path(source)) if as_local(source) is not None else ''}"
        )
    by_suffix: defaultdict[str, list[Found]] = defaultdict(list)
    for file in found:
        by_suffix[suffix_of(file.name)].append(file)
    for files in by_suffix.values():
        files.sort(key=lambda file: file.name)
    tree.by_suffix = dict(by_suffix)
    return tree


def _web_name(url: str) -> str:
    return urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1]


def one_file(source: str) -> Found:
    """Return the file that a person's path or URL names, under its own name."""
    path = as_local(source)
    uri = to_uri(path) if path is not None else source
    name = (path or source).rstrip("/").rsplit("/", 1)[-1]
    if source.startswith(WEB):
        name = _web_name(source)
    return Found(printable(name), uri, version_of(uri))


def _walk(root: str, tree: Tree) -> Iterator[Found]:
    """Yield the files below a local folder, following links but not in circles."""
    root = root.rstrip("/")
    status = os.stat(root or "/")  # noqa: PTH116
    yield from _walk_below(root, "", frozenset([(status.st_dev, status.st_ino)]), tree)


def _walk_below(
    root: str, prefix: str, above: frozenset[tuple[int, int]], tree: Tree
) -> Iterator[Found]:
    folder = f"{root}/{prefix}"
    try:
        with os.scandir(folder) as entries:
            every = list(entries)
    except OSError as error:
        raise SourceError(
            f"cannot list {printable(folder)}: {error.strerror}; make it readable, or move it out "
            "of the source"
        ) from None
    found = [entry for entry in every if not entry.name.startswith(".")]
    tree.hidden += len(every) - len(found)
    written = written_in(folder, (entry.name for entry in found))
    for entry in found:
        name = prefix + entry.name
        if entry.name in written:
            tree.written.add(printable(name))
            continue
        try:
            status = entry.stat()
        except OSError:
            # a link to nothing, or a file that vanished: its reading will say so
            yield Found(printable(name), to_uri(f"{root}/{name}"), MISSING)
            continue
        if stat.S_ISDIR(status.st_mode):
            here = (status.st_dev, status.st_ino)
            if here not in above:
                yield from _walk_below(root, name + "/", above | {here}, tree)
        else:
            yield Found(printable(name), to_uri(f"{root}/{name}"), local_version(status))


def _walk_remote(source: str, tree: Tree) -> Iterator[Found]:
    fs, root = filesystem(source)
    root = root.rstrip("/")
    for path, info in fs.find(root, detail=True).items():
        name = path[len(root) :].lstrip("/")
        if info.get("type") == "directory":
            continue
        if any(part.startswith(".") for part in name.split("/")):
            tree.hidden += 1
        else:
            yield Found(name, fs.unstrip_protocol(path), remote_version(info))


def _without(written: set[str], files: Iterable[Found], tree: Tree) -> Iterator[Found]:
    """Yield the files but those that the program wrote."""
    for file in files:
        holder = holder_of(file.name, written) if written else None
        if holder is None:
            yield file
        else:
            tree.written.add(holder)


def _matches(pattern: str, tree: Tree) -> Iterator[Found]:
    """Yield the files that a pattern names, under their path below its last plain folder."""
    local = as_local(pattern)
    whole = pattern if local is None else local
    magic = _MAGIC.search(whole)
    assert magic is not None
    base = whole[: whole.rfind("/", 0, magic.start()) + 1]
    prefix = filesystem(base)[1].rstrip("/") + "/" if local is None else base
    # the same file may match twice
    paths = dict.fromkeys(path for one in expand_braces(whole) for path in _glob(one, pattern))
    names = [path.removeprefix(prefix) for path in paths]
    written = written_among(names) if local is None else written_around(prefix, names)
    uris = (
        to_uri(path) if local is not None else filesystem(base)[0].unstrip_protocol(path)
        for path in paths
    )
    every = (
        Found(printable(name), uri, version_of(uri)) for name, uri in zip(names, uris, strict=True)
    )
    yield from _without(written, every, tree)


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
