"""How stable picks and roles are when the pictures are drawn anew: covariances, then TextSpan."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jobs import console
from pipeline.heads.moments import Key, Moments, from_table, head_keys
from pipeline.heads.stability import WeightedMoments, poisson_weights
from schemas.manifest import ScanRecord
from warehouse.files.layout import ScanDir
from warehouse.store.reading import iterate_layer, iterate_moments

# With at least so many shards, shards are drawn instead of pictures: nothing but moments is read.
SHARDS = 50


def sampled_covariances(
    scan: ScanDir, record: ScanRecord, shards: Sequence[str], samples: int, seed: int = 0
) -> list[Float[np.ndarray, "head d_head d_head"]]:
    """Return each bootstrap sample's covariances, in the order of the heads."""
    if len(shards) >= SHARDS:
        return _by_shard(scan, shards, samples, seed)
    layers = []
    with console.progress("Bootstrap", len(record.layers), "layers") as advance:
        for done, layer in enumerate(record.layers, 1):
            layers.append(_by_picture(scan, shards, layer, samples, seed))
            advance(done)
    return list(np.concatenate(layers, axis=1))


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


def _by_shard(
    scan: ScanDir, shards: Sequence[str], samples: int, seed: int
) -> list[Float[np.ndarray, "head d_head d_head"]]:
    counts = np.random.default_rng(seed).poisson(1.0, (samples, len(shards)))
    merged: list[dict[Key, Moments]] = [{} for _ in range(samples)]
    for number, table in enumerate(iterate_moments(scan, shards)):
        part = {k: m for k, m in from_table(table).items() if k[0] == "head"}
        for sample in range(samples):
            for _ in range(int(counts[sample, number])):
                into = merged[sample]
                for key, moments in part.items():
                    into[key] = into[key].merge(moments) if key in into else moments
    return [
        np.stack([found["head", *key].covariance for key in head_keys(found)])
        for found in merged
        if found
    ]
