"""What a snapshot holds, as two digests that know no order: of its pictures, and of their labels.

Each is the sum modulo 2²⁵⁶ of the sha256 of every picture's canonical text, so that a snapshot's
digests are the sums of its shards', a new shard is one addition, and how pictures are spread over
shards, or in which order, changes nothing. They tell apart what results stand on; they are no
defence against somebody who searches for two sets of pictures with one sum.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from schemas.manifest import LiveShard, Snapshot
from warehouse.files.layout import ScanDir
from warehouse.store.reading import read_images

_MODULUS: Final = 1 << 256
PICTURES: Final = ("image_id", "fingerprint")
LABELS: Final = ("image_id", "label", "metadata")
_READ: Final = ("image_id", "fingerprint", "label", "metadata")


@dataclass(frozen=True)
class Content:
    """The two digests of a set of pictures, as 64 hexadecimal digits.

    Attributes:
        pictures: over (image_id, fingerprint): what every number stands on.
        labels: over (image_id, label, metadata): what is also asked of the pictures.
    """

    pictures: str
    labels: str


NOTHING: Final = Content("0" * 64, "0" * 64)


def content_of(images: pa.Table) -> Content:
    """Return the digests of image rows, in any order."""
    columns = {name: images[name].to_pylist() for name in _READ}
    return Content(_sum(_texts(columns, PICTURES)), _sum(_texts(columns, LABELS)))


def total(parts: Iterable[Content]) -> Content:
    """Return the digests of several disjoint sets of pictures together."""
    listed = list(parts)
    return Content(
        _hex(sum(int(part.pictures, 16) for part in listed)),
        _hex(sum(int(part.labels, 16) for part in listed)),
    )


def shard_content(scan: ScanDir, shard: str) -> Content:
    """Read a shard's image rows, without vectors, and return their digests.

    Raises:
        CorruptStore: they cannot be read.
    """
    return content_of(read_images(scan, [shard], _READ))


def kept(live: LiveShard) -> Content | None:
    """Return the digests that a snapshot says of a shard; None in one of format 1."""
    if live.pictures_digest is None or live.labels_digest is None:
        return None
    return Content(live.pictures_digest, live.labels_digest)


def content(scan: ScanDir, snapshot: Snapshot) -> Content:
    """Return a snapshot's digests; one of format 1 has none, and they are made from its shards.

    The next commit stores them.

    Raises:
        CorruptStore: image rows of a snapshot of format 1 cannot be read.
    """
    if snapshot.pictures_digest is not None and snapshot.labels_digest is not None:
        return Content(snapshot.pictures_digest, snapshot.labels_digest)
    return total(kept(live) or shard_content(scan, live.shard) for live in snapshot.shards)


def _texts(columns: Mapping[str, list[Any]], names: Iterable[str]) -> Iterator[bytes]:
    for row in zip(*(columns[name] for name in names), strict=True):
        yield json.dumps(row, separators=(",", ":")).encode()


def _sum(texts: Iterable[bytes]) -> str:
    return _hex(sum(int.from_bytes(hashlib.sha256(text).digest()) for text in texts))


def _hex(value: int) -> str:
    return f"{value % _MODULUS:064x}"
