"""How stable picks and roles are when the pictures are drawn anew: covariances, then TextSpan."""

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float

from jobs import console
from jobs.steps.opened import Opened
from pipeline.heads.merging import Shape, merge_tables, stacks
from pipeline.heads.stability import BlockSums, WeightedMoments, poisson_weights
from warehouse.files.layout import ScanDir
from warehouse.store.merged import blocks, iterate_blocks, tree
from warehouse.store.reading import iterate_layer

# With at least so many shards, blocks of shards are drawn instead of pictures: no shard is read.
SHARDS = 50
# Blocks that are drawn at most: nodes of the tree of merged moments.
BLOCKS = 64


def sampled_covariances(
    opened: Opened, samples: int, seed: int = 0
) -> Sequence[Sequence[Float[np.ndarray, "_ _"]]]:
    """Return each bootstrap sample's covariances, in the order of the heads."""
    scan, layers = opened.scan, opened.record.layers
    if len(opened.shards) >= SHARDS:
        return _by_block(opened, samples, seed)
    found: list[list[np.ndarray]] = [[] for _ in range(samples)]
    with console.progress("Bootstrap", len(layers), "layers") as advance:
        for done, layer in enumerate(layers, 1):
            drawn = _by_picture(scan, opened.shards, layer, samples, seed)
            for sample, covariances in zip(found, drawn, strict=True):
                sample.extend(covariances)
            advance(done)
    return found


def _by_picture(
    scan: ScanDir, shards: Sequence[str], layer: int, samples: int, seed: int
) -> Float[np.ndarray, "sample head d_head d_head"]:
    sums: WeightedMoments | None = None
    order = {shard: i for i, shard in enumerate(shards)}
    for block in iterate_layer(scan, shards, layer):
        heads, images, width = block.vectors.shape
        sums = sums or WeightedMoments(samples, heads, width)
        sums.add(block.vectors, poisson_weights(samples, images, [seed, order[block.shard]]))
    if sums is None:
        return np.empty((samples, 0, 0, 0))
    return sums.covariance()


def _by_block(opened: Opened, samples: int, seed: int) -> list[list[Float[np.ndarray, "_ _"]]]:
    root = tree(opened.scan, opened.snapshot)
    nodes = [] if root is None else blocks(root, BLOCKS)
    counts = np.random.default_rng(seed).poisson(1.0, (samples, len(nodes)))
    sums: dict[Shape, BlockSums] = {}
    for number, table in enumerate(iterate_blocks(nodes, merge_tables)):
        heads = table.filter(pc.equal(table["component"], "head"))
        for shape, stack in stacks(heads).items():
            sums.setdefault(shape, BlockSums(samples)).add(stack, counts[:, number])
    found = {key: value for part in sums.values() for key, value in part.covariances().items()}
    drawn = np.flatnonzero(counts.sum(axis=1)).tolist()
    return [[found["head", *head][sample] for head in opened.framed] for sample in drawn]
