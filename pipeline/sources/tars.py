"""Webdataset tars: pictures found by their headers, read later by offset.

The key is `name.tar!member`. Files of one sample share the path up to the first dot of the name:
its `.json` becomes metadata, `.txt` the metadata `caption`, `.cls` the label with `--labels cls`.
The fingerprint is the picture's own header (size, mtime, checksum) and offset, so that appending
to a tar changes no picture that was there; bytes replaced in place under an equal header are not
noticed. A damaged tar gives the pictures before the damage and one member that is rejected.
"""

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.sources.paths import PICTURE_SUFFIXES, Found, open_binary, printable, suffix_of
from pipeline.sources.request import (
    FOLDER,
    Request,
    clean_text,
    folder_label,
    label_text,
    metadata_json,
    refuse_options,
    require_column,
    require_unique,
)
from schemas.members import Member

DAMAGED = "damaged: "
CLS, CAPTION = "cls", "caption"
MAX_SIDECAR = 1 << 20


@dataclass
class _Index:
    """What the headers of one tar say."""

    pictures: list[tuple[str, str, int, int]] = field(default_factory=list)
    sidecars: dict[str, dict[str, Any]] = field(default_factory=dict)
    damage: str | None = None


def members(files: Sequence[Found], request: Request) -> list[Member]:
    """List the pictures in uncompressed tars, sorted by key.

    Raises:
        UsageError: the label column is in no sample.
        DuplicateKey: a tar holds a name twice.
    """
    refuse_options(request, "webdataset tars", path_column=request.path_column, root=request.root)
    listed: list[Member] = []
    damaged: list[Member] = []
    columns: set[str] = set()
    for file in files:
        index = _index(file)
        listed.extend(_members(file, index, request.labels))
        if request.labels not in (None, FOLDER):
            columns.update(name for row in index.sidecars.values() for name in row)
        if index.damage is not None:
            damaged.append(Member(file.name, file.uri, f"{DAMAGED}{index.damage} {file.version}"))
    if listed and request.labels not in (None, FOLDER):
        require_column(request.labels or "", sorted(columns), "--labels", request.source)
    listed += damaged
    require_unique(listed)
    listed.sort(key=lambda member: member.key)
    return listed


def _members(file: Found, index: _Index, labels: str | None) -> list[Member]:
    rows = {}
    for sample, values in index.sidecars.items():
        others = {name: value for name, value in values.items() if name != labels}
        rows[sample] = (label_text(values.get(labels)) if labels else None, metadata_json(others))
    found = []
    for name, fingerprint, offset, size in index.pictures:
        label, metadata = rows.get(_sample(name), (None, "{}"))
        if labels == FOLDER:
            label = folder_label(name)
        key = f"{file.name}!{name}"
        found.append(Member(key, file.uri, fingerprint, label, metadata, offset, size))
    return found


def _index(file: Found) -> _Index:
    """Read the headers of a tar once, and the small files beside its pictures."""
    index = _Index()
    try:
        with open_binary(file.uri) as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            while (info := tar.next()) is not None:
                # else every header read so far is kept in memory
                tar.members = []  # type: ignore[attr-defined]
                if info.isfile() and not info.name.rsplit("/", 1)[-1].startswith("."):
                    _note(index, tar, info)
            raw.seek(tar.offset)
            if (block := raw.read(tarfile.BLOCKSIZE)) != bytes(tarfile.BLOCKSIZE):
                # tarfile takes both for an ordinary end
                what = "header that is none" if block else "end without its end mark"
                index.damage = f"{what} at byte {tar.offset}"
    except (OSError, EOFError, tarfile.TarError) as error:
        # what follows the damage is lost, what came before is not
        index.damage = " ".join(str(error).split())
    return index


def _note(index: _Index, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
    name = printable(info.name.removeprefix("./"))
    suffix = suffix_of(name)
    if suffix in PICTURE_SUFFIXES:
        fingerprint = f"{info.size}-{int(info.mtime)}-{info.chksum}-{info.offset_data}"
        index.pictures.append((name, fingerprint, info.offset_data, info.size))
        return
    if suffix not in (".json", ".txt", ".cls") or info.size > MAX_SIDECAR:
        return
    extracted = tar.extractfile(info)
    assert extracted is not None
    values = index.sidecars.setdefault(_sample(name), {})
    text = extracted.read().decode("utf-8", "replace").strip()
    if suffix == ".json":
        try:
            found = json.loads(text)
        except ValueError:
            return
        values.update(found if isinstance(found, dict) else {"json": found})
    elif suffix == ".txt":
        values.setdefault(CAPTION, clean_text(text))
    else:
        values.setdefault(CLS, text)


def _sample(name: str) -> str:
    """Return the part of a member's name that a sample's files share."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]
