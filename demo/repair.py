"""The birds: how far the biased cue misleads the small CLIP, and what ablating its heads repairs.

As in the paper's section on Waterbirds: heads that carry the background are chosen on a balanced
split apart (`birds_select`) and mean-ablated; the result is measured on `birds_test`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from demo.findings import Encoded, ablated, explained
from demo.world.factors import PLACES, WATER_PLACE
from demo.zeroshot import correct, group_accuracies

MOST_HEADS = 16


@dataclass(frozen=True)
class Groups:
    """Accuracy per (bird, place), and their mean over pictures; 0 is land, 1 is water."""

    mean: float
    groups: dict[tuple[int, int], float]

    @property
    def worst(self) -> float:
        """The lowest accuracy of a group."""
        return min(self.groups.values())


@dataclass(frozen=True)
class Repair:
    """Birds before and after mean-ablating `heads`, and after as many heads drawn at random."""

    heads: list[tuple[int, int]]
    before: Groups
    after: Groups
    random_worst: list[float]


def places(factors: Mapping[str, Int[np.ndarray, " image"]]) -> Int[np.ndarray, " image"]:
    """1 where the background is water, else 0."""
    return np.isin(factors["background"], PLACES[WATER_PLACE]).astype(np.int64)


def groups(
    embedding: Float[np.ndarray, "image d_joint"],
    factors: Mapping[str, Int[np.ndarray, " image"]],
    weights: Float[Tensor, "2 d_joint"],
) -> Groups:
    """Zero-shot accuracy of land bird against water bird, per group."""
    features = torch.from_numpy(np.asarray(embedding, dtype=np.float32))
    hits = correct(features, factors, {"bird": weights})["bird"]
    return Groups(float(hits.mean()), group_accuracies(hits, factors["bird"], places(factors)))


def _first(ranked: list[tuple[int, int]], count: int, like: Encoded) -> Bool[np.ndarray, "l h"]:
    mask = np.zeros(like.heads.shape[1:3], dtype=bool)
    for layer, head in ranked[:count]:
        mask[layer, head] = True
    return mask


def repair(
    select: tuple[Encoded, Mapping[str, Int[np.ndarray, " image"]]],
    test: tuple[Encoded, Mapping[str, Int[np.ndarray, " image"]]],
    weights: Float[Tensor, "2 d_joint"],
    *,
    draws: int = 20,
    seed: int = 0,
) -> Repair:
    """Choose heads on `select`, ablate them on `test`.

    Heads are ranked by the share of their variance that the place explains. Of at most `MOST_HEADS`
    the fewest are taken that bring the worst group on `select` within a point of the best reached.
    """
    encoded, factors = select
    r2 = explained(encoded.heads, places(factors))
    order = np.argsort(-r2, axis=None)
    ranked = [(int(a), int(b)) for a, b in zip(*np.unravel_index(order, r2.shape), strict=True)]
    tried = [
        groups(ablated(encoded, _first(ranked, count, encoded)), factors, weights).worst
        for count in range(MOST_HEADS + 1)
    ]
    count = int(np.argmax(np.array(tried) >= max(tried) - 0.01))
    encoded, factors = test
    rng = np.random.default_rng(seed)
    at_random = [
        [ranked[i] for i in rng.choice(len(ranked), size=count, replace=False)]
        for _ in range(draws)
    ]
    return Repair(
        heads=sorted(ranked[:count]),
        before=groups(encoded.embedding, factors, weights),
        after=groups(ablated(encoded, _first(ranked, count, encoded)), factors, weights),
        random_worst=[
            groups(ablated(encoded, _first(some, count, encoded)), factors, weights).worst
            for some in at_random
        ],
    )
