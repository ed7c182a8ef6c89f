"""Heads' moments over some of a scan's pictures, from the stored contributions."""

import numpy as np

from jobs import console
from jobs.steps.opened import Opened
from pipeline.heads import moments as mo
from schemas.errors import UsageError
from schemas.text import how_many
from warehouse.store.reading import iterate_layer, matrix, read_images
from warehouse.store.select import select_images


def subset_moments(opened: Opened, where: str) -> dict[mo.Key, mo.Moments]:
    """Recompute the heads' moments over the pictures for which `where` holds.

    Reads the stored contributions, one layer of one shard at a time.

    Raises:
        UsageError: the condition is no SQL over images, or holds for no picture.
    """
    scan, shards = opened.scan, opened.shards
    chosen = select_images(scan, shards, where)
    if len(chosen) == 0:
        raise UsageError(f"where {where!r}: no picture of scan {scan.name} satisfies it")
    console.note(f"where {where}: {how_many(len(chosen), 'picture')}")
    found: dict[mo.Key, mo.Moments] = {}
    for shard in shards:
        rows = read_images(scan, [shard], ["image_id", "embedding"])
        keep = np.isin(rows["image_id"].to_numpy(), chosen)
        if not keep.any():
            continue
        embedding = matrix(rows["embedding"])[keep]
        heads = {
            block.layer: block.vectors[:, keep]
            for layer in opened.record.layers
            for block in iterate_layer(scan, [shard], layer)
        }
        for key, part in mo.shard_moments(heads, embedding, {}, opened.frames.narrow()).items():
            found[key] = found[key].merge(part) if key in found else part
    return found
