"""Pictures of a scan as chunks of work."""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from jobs.steps.chunks import split
from jobs.workers.stored_pictures import Stored
from schemas.members import Member


def stored_chunks(
    images: pa.Table, size: int, folder: Path, marked: Collection[int] = ()
) -> list[Stored]:
    """Return chunks of pictures, given their image rows; those `marked` are by image_id."""
    ids = images["image_id"].to_pylist()
    columns = (images[name].to_pylist() for name in ("key", "uri", "fingerprint"))
    members = [Member(key, uri, mark) for key, uri, mark in zip(*columns, strict=True)]
    more = frozenset(marked)
    return [
        Stored(
            c.start,
            c.stop,
            c.path,
            tuple(members[c.start : c.stop]),
            tuple(ids[c.start : c.stop]),
            more.intersection(ids[c.start : c.stop]),
        )
        for c in split(len(members), size, folder)
    ]
