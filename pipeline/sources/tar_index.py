"""What the headers of one tar say: pictures, links to them, and the small files beside them."""

import json
import posixpath
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.sources.paths import PICTURE_SUFFIXES, Found, open_binary, printable, suffix_of
from pipeline.sources.request import clean_text, metadata_json
from schemas.text import decode_text

CLS, CAPTION = "cls", "caption"
SIDECARS = (".json", ".txt", ".cls")
MAX_SIDECAR = 1 << 20
MAX_LINKS = 20
# `0001.seg.png` beside `0001.jpg` is a mask of it, not a picture of its own.
_ANNOTATIONS = frozenset(
    "seg segmentation mask masks depth label labels instance instances semantic panoptic normal "
    "normals edge edges alpha matte trimap gt flow disparity saliency".split()
)


class Stretch(NamedTuple):
    """Where a picture lies in its tar, and its fingerprint."""

    fingerprint: str
    offset: int
    size: int


@dataclass
class TarIndex:
    """What one tar holds.

    Attributes:
        pictures: by member's name, in the tar's order; a name may occur twice.
        sidecars: values out of the small files, by member's name.
        unusable: members that are pictures or sidecars and cannot be used, with the reason.
        passed_over: other members, by suffix.
        damage: where the tar breaks off; None for a whole one.
    """

    pictures: list[tuple[str, Stretch]] = field(default_factory=list)
    sidecars: dict[str, dict[str, Any]] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)
    damage: str | None = None


def read_index(file: Found) -> TarIndex:
    """Read the headers of a tar once, and the small files beside its pictures."""
    index = TarIndex()
    every: dict[str, Stretch] = {}
    links: dict[str, str] = {}
    try:
        with open_binary(file.uri) as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            while (info := tar.next()) is not None:
                # else every header read so far is kept in memory
                tar.members = []  # type: ignore[attr-defined]
                _note(index, tar, info, every, links)
            raw.seek(tar.offset)
            if (block := raw.read(tarfile.BLOCKSIZE)) != bytes(tarfile.BLOCKSIZE):
                # tarfile takes both for an ordinary end
                what = "header that is none" if block else "end without its end mark"
                index.damage = f"{what} at byte {tar.offset}"
    except (OSError, EOFError, tarfile.TarError) as error:
        # what follows the damage is lost, what came before is not
        index.damage = " ".join(str(error).split())
    _follow(index, every, links)
    _leave_annotations(index)
    return index


def _note(
    index: TarIndex,
    tar: tarfile.TarFile,
    info: tarfile.TarInfo,
    every: dict[str, Stretch],
    links: dict[str, str],
) -> None:
    """Take in one member; `every` regular one is kept for the links that may name it."""
    if info.isdir():
        return
    name = printable(info.name.removeprefix("./"))
    if name.rsplit("/", 1)[-1].startswith("."):
        index.passed_over["hidden"] += 1
        return
    suffix = suffix_of(name)
    wanted = suffix in PICTURE_SUFFIXES or suffix in SIDECARS
    if info.islnk() or info.issym():
        if wanted:
            at = "" if info.islnk() else posixpath.dirname(name)
            target = posixpath.join(at, printable(info.linkname))
            links[name] = posixpath.normpath(target)
        return
    if not info.isreg() or info.issparse():
        if suffix in PICTURE_SUFFIXES:
            what = "a sparse member, repack without --sparse" if info.isreg() else "no file"
            index.unusable[name] = f"{name} is {what}"
        return
    fingerprint = f"{info.size}-{int(info.mtime)}-{info.chksum}-{info.offset_data}"
    every[posixpath.normpath(name)] = stretch = Stretch(fingerprint, info.offset_data, info.size)
    if suffix in PICTURE_SUFFIXES:
        index.pictures.append((name, stretch))
    elif suffix in SIDECARS and info.size <= MAX_SIDECAR:
        extracted = tar.extractfile(info)
        assert extracted is not None
        try:
            index.sidecars[name] = _values(suffix, extracted.read())
        except (ValueError, RecursionError) as error:
            index.unusable[name] = f"{name} cannot be read: {_one_line(error)}"
    else:
        too_long = " of more than 1 MB" if suffix in SIDECARS else ""
        index.passed_over[(suffix or "without suffix") + too_long] += 1


def _one_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start}: {error.reason})"
    return str(error)


def _values(suffix: str, data: bytes) -> dict[str, Any]:
    """Return the metadata in a sidecar.

    Raises:
        ValueError, RecursionError: it is no text, or JSON that cannot be read or is nested too
            deeply.
    """
    if suffix != ".json":
        text = decode_text(data).strip()
        return {CAPTION: clean_text(text)} if suffix == ".txt" else {CLS: text}
    found = json.loads(decode_text(data))
    values = found if isinstance(found, dict) else {"json": found}
    metadata_json(values)
    return values


def _follow(index: TarIndex, every: dict[str, Stretch], links: dict[str, str]) -> None:
    """Give each link the bytes of the member that it names."""
    for name, target in links.items():
        for _ in range(MAX_LINKS):
            if target in every or target not in links:
                break
            target = links[target]
        if suffix_of(name) not in PICTURE_SUFFIXES:
            index.passed_over[f"{suffix_of(name)} link"] += 1
        elif target in every:
            index.pictures.append((name, every[target]))
        else:
            index.unusable[name] = f"{name} is a link to {target}, which is not in the tar"


def _leave_annotations(index: TarIndex) -> None:
    """Leave out masks and the like of pictures: `NAME.seg.png`."""
    kept = []
    for name, stretch in index.pictures:
        parts = name.rsplit("/", 1)[-1].lower().split(".")
        if len(parts) > 2 and parts[-2] in _ANNOTATIONS:
            index.passed_over[f".{parts[-2]}.{parts[-1]}"] += 1
        else:
            kept.append((name, stretch))
    index.pictures = kept
