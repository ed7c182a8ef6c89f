"""Stability: how often a pick, and a role, survive when the pictures are drawn anew.

TextSpan needs only covariances, so a bootstrap sample of pictures is a covariance: from stored
vectors with Poisson(1) weights (each picture counts 0, 1, 2 ... times), or from the moments of
blocks of shards drawn with replacement, which is coarser and reads no vector.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from pipeline.heads.merging import Stack
from pipeline.heads.moments import Key


class WeightedMoments:
    """Sums of a layer's heads under each of several weightings of the pictures.

    Args of `__init__` are sizes; `add` takes one shard, `covariance` reads the result.
    """

    def __init__(self, samples: int, heads: int, width: int) -> None:
        """Start with no picture."""
        self.n = np.zeros(samples)
        self.total = np.zeros((samples, heads, width))
        self.squares = np.zeros((samples, heads, width, width))

    def add(
        self,
        vectors: Float[np.ndarray, "head image d_head"],
        weights: Float[np.ndarray, "sample image"],
    ) -> None:
        """Add one shard's pictures under all weightings."""
        v = vectors.astype(np.float32)
        self.n += weights.sum(axis=1)
        self.total += np.einsum("si,hid->shd", weights, v.astype(np.float64))
        for sample, weight in enumerate(weights.astype(np.float32)):
            self.squares[sample] += np.matmul((v * weight[:, None]).transpose(0, 2, 1), v)

    def covariance(self) -> Float[np.ndarray, "sample head d_head d_head"]:
        """Return the weighted covariances."""
        n = np.maximum(self.n, 1)[:, None, None]
        mean = self.total / n
        return self.squares / n[..., None] - mean[..., :, None] * mean[..., None, :]


class BlockSums:
    """Second moments of heads of one width, under several draws of blocks of pictures.

    Sums are taken about the first block's mean, so that little is lost where means are long.
    """

    def __init__(self, samples: int) -> None:
        """Start with no block."""
        self.n = np.zeros(samples)
        self.keys: tuple[Key, ...] = ()
        self.centre, self.total, self.squares = np.empty(0), np.empty(0), np.empty(0)

    def add(self, block: Stack, times: Int[np.ndarray, " sample"]) -> None:
        """Add a block, counted `times` in each sample."""
        if not self.keys:
            self.keys, self.centre = block.keys, block.mean
            self.total = np.zeros((len(times), *block.mean.shape))
            self.squares = np.zeros((len(times), *block.m2.shape))
        block = block.take(self.keys)
        n = block.n[:, None].astype(np.float64)
        away = block.mean - self.centre
        squares = block.m2 + n * (away[:, :, None] * away[:, None, :]).reshape(block.m2.shape)
        for sample in np.flatnonzero(times):
            self.n[sample] += times[sample] * block.n[0]
            self.total[sample] += times[sample] * n * away
            self.squares[sample] += times[sample] * squares

    def covariances(self) -> dict[Key, Float[np.ndarray, "sample d d"]]:
        """Return every head's covariance in each sample."""
        n = np.maximum(self.n, 1)[:, None]
        found = {}
        for i, key in enumerate(self.keys):
            mean = self.total[:, i] / n
            width = mean.shape[1]
            raw = self.squares[:, i].reshape(-1, width, width) / n[..., None]
            found[key] = raw - mean[:, :, None] * mean[:, None, :]
        return found


def poisson_weights(
    samples: int, images: int, seed: Sequence[int]
) -> Float[np.ndarray, "sample image"]:
    """Draw how often each picture counts in each sample; the same for every layer of a shard."""
    return np.random.default_rng(seed).poisson(1.0, (samples, images)).astype(np.float64)


def pick_survival(
    picks: Int[np.ndarray, "head rank"], samples: Sequence[Int[np.ndarray, "head rank"]]
) -> Float[np.ndarray, "head rank"]:
    """Return the share of samples in which each pick is among the head's picks again."""
    again = [(picks[:, :, None] == other[:, None, :]).any(axis=2) for other in samples]
    return np.where(picks >= 0, np.mean(again, axis=0), 0.0)


def role_survival(
    roles: Sequence[str | None], samples: Sequence[Sequence[str | None]]
) -> list[float | None]:
    """Return the share of samples that give the same role; None where there is no role."""
    return [
        None if role is None else float(np.mean([other[i] == role for other in samples]))
        for i, role in enumerate(roles)
    ]
