"""Webdataset tars: pictures found by their headers, read later by offset.

The key is `name.tar!member`. A picture's sidecar is the one that shares the longest stem with it,
dot by dot: its `.json` becomes metadata, `.txt` the metadata `caption`, `.cls` the label with
`--labels cls`. The fingerprint is the picture's own header (size, mtime, checksum) and offset, so
that appending to a tar changes no picture that was there; bytes replaced in place under an equal
header are not noticed. A damaged tar gives the pictures before the damage and one member that is
rejected; so does a picture or a sidecar in it that cannot be used.
"""

import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.pictures.decode import Rejected
from pipeline.sources.base import Format, damaged
from pipeline.sources.paths import Found, suffix_of
from pipeline.sources.request import (
    FOLDER,
    Request,
    label_text,
    metadata_json,
    refuse_options,
    require_column,
    require_unique,
    with_folder_labels,
)
from pipeline.sources.tar_index import SIDECARS, TarIndex, read_index
from schemas.errors import SourceError
from schemas.members import Member

TAR = ".tar"
# size, mtime, checksum of the header and offset of the bytes, as fingerprints are written
_FINGERPRINT = re.compile(r"(\d+)-(?:-?\d+)-(\d+)-(\d+)")
_CHECKSUM = slice(148, 156)


class Tars(Format):
    """Pictures in uncompressed tars."""

    name = "webdataset tars"
    expected = "webdataset .tar files"
    suffixes = frozenset([TAR])
    container = "tar"

    def members(self, files: Sequence[Found], request: Request) -> list[Member]:
        """List the pictures in the tars, sorted by key.

        Raises:
            SourceError: two sidecars fit one picture, or one fits two.
            UsageError: the label column is in no sample.
            DuplicateKey: a tar holds a name twice.
        """
        refuse_options(request, self.name, path_column=request.path_column, root=request.root)
        listed: list[Member] = []
        rejected: list[Member] = []
        columns: set[str] = set()
        for file in files:
            index = read_index(file)
            listed.extend(_members(file, index, request))
            columns.update(name for row in index.sidecars.values() for name in row)
            for name, reason in index.unusable.items():
                rejected.append(damaged(file, reason, f"{file.name}!{name}"))
            if index.damage is not None:
                rejected.append(damaged(file, index.damage))
        if listed and request.labels not in (None, FOLDER):
            require_column(request.labels or "", sorted(columns), "--labels", request.source)
        if request.labels == FOLDER:
            listed = with_folder_labels(listed, lambda m: m.key.partition("!")[2], request)
        listed += rejected
        require_unique(listed)
        listed.sort(key=lambda member: member.key)
        return listed

    def holds(self, uri: str) -> bool:
        """Say whether a uri is of a tar."""
        return suffix_of(uri) == TAR

    def reread(
        self, key: str, uri: str, fingerprint: str, read: Callable[[Member], bytes]
    ) -> bytes:
        """Return the bytes of a stored member, if its header still stands before them.

        Raises:
            Rejected: another header is there by now, or it cannot be read.
        """
        found = _FINGERPRINT.fullmatch(fingerprint)
        if found is None:
            return read(Member(key, uri, fingerprint))
        size, checksum, offset = map(int, found.groups())
        start = offset - tarfile.BLOCKSIZE
        header = read(Member(key, uri, "", offset=start, size=tarfile.BLOCKSIZE))
        if header[_CHECKSUM].strip(b" \0").lstrip(b"0") != f"{checksum:o}".encode():
            raise Rejected("read", f"{uri} has changed since it was scanned")
        return read(Member(key, uri, "", offset=offset, size=size))


FORMAT = Tars()


def _members(file: Found, index: TarIndex, request: Request) -> list[Member]:
    request.passed_over.update(index.passed_over)
    labels = None if request.labels == FOLDER else request.labels
    beside = _joined(file, index, request)
    found = []
    for name, where in index.pictures:
        values: dict[str, Any] = {}
        # a .json's own caption or cls goes before the small file's
        for sidecar in sorted(beside.get(name, ()), key=lambda s: SIDECARS.index(suffix_of(s))):
            values = index.sidecars[sidecar] | values
        label = label_text(values.get(labels)) if labels else None
        metadata = metadata_json({k: v for k, v in values.items() if k != labels})
        key = f"{file.name}!{name}"
        found.append(
            Member(key, file.uri, where.fingerprint, label, metadata, where.offset, where.size)
        )
    return found


def _joined(file: Found, index: TarIndex, request: Request) -> dict[str, list[str]]:
    """Return the sidecars of each picture, at most one of a kind.

    Raises:
        SourceError: two fit equally well, or one fits two pictures.
    """
    beside: defaultdict[str, list[str]] = defaultdict(list)
    for name in index.sidecars:
        beside[_sample(name)].append(name)
    found: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    stems = {_stem(picture) for picture, _ in index.pictures}
    for picture, _ in index.pictures:
        # one whose stem is another picture's own belongs to that
        own = _stem(picture)
        near = [s for s in beside[_sample(picture)] if _stem(s) == own or _stem(s) not in stems]
        for kind in SIDECARS:
            fitting = _longest(picture, [s for s in near if suffix_of(s) == kind])
            if len(fitting) > 1:
                raise _unclear(file, f"{fitting[0]} and {fitting[1]} both fit {picture}")
            for sidecar in fitting:
                other = owner.setdefault(sidecar, picture)
                if other != picture:
                    raise _unclear(file, f"{sidecar} fits both {other} and {picture}")
                found.setdefault(picture, []).append(sidecar)
    for sidecar in index.sidecars.keys() - owner.keys():
        request.passed_over[f"{suffix_of(sidecar)} beside no picture"] += 1
    return found


def _unclear(file: Found, what: str) -> SourceError:
    return SourceError(
        f"{file.name}: {what}; expected one of each kind for a picture, of its own name, as "
        "0001.json for 0001.jpg: rename them"
    )


def _longest(picture: str, sidecars: Sequence[str]) -> list[str]:
    """Return those sidecars that share the longest stem with a picture."""
    own = _stem(picture)
    shared: dict[int, list[str]] = {}
    for sidecar in sidecars:
        other = _stem(sidecar)
        common = min(len(own), len(other))
        if own[:common] == other[:common]:
            shared.setdefault(common, []).append(sidecar)
    return sorted(shared[max(shared)]) if shared else []


def _stem(name: str) -> tuple[str, ...]:
    return tuple(name.split(".")[:-1])


def _sample(name: str) -> str:
    """Return the part of a member's name up to the first dot of its last part."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]
