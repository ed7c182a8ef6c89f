"""A sample of pictures that has every label in its own proportion, by a seed."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64


def stratified(labels: Sequence[str | None], count: int, seed: int) -> Int64[np.ndarray, " chosen"]:
    """Return the places of at most `count` pictures, ascending; those without label are one group.

    Each label's pictures are shuffled and given the quantiles of their order, a random start each;
    the lowest of all are taken. So a label has its share to within one picture, a larger sample of
    the same seed holds the smaller one, and one label's pictures move no other's order.
    """
    rng = np.random.default_rng(seed)
    quantile = np.empty(len(labels))
    by_label: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        by_label.setdefault("" if label is None else f"={label}", []).append(place)
    for _, places in sorted(by_label.items()):
        order = rng.permutation(len(places))
        quantile[places] = (order + rng.random()) / len(places)
    return np.sort(np.argsort(quantile, kind="stable")[:count]).astype(np.int64)
