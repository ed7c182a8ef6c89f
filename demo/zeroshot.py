"""Zero-shot accuracy per factor, with the ensembles of prompts that the world defines."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from demo.world import FACTORS, PROMPTS

Encode = Callable[[list[str]], Float[Tensor, "text d_joint"]]
Classifiers = Mapping[str, Float[Tensor, "value d_joint"]]


@torch.no_grad()
def classifier(factor: str, encode: Encode) -> Float[Tensor, "value d_joint"]:
    """One unit vector per value of `factor`: the mean of its prompts' unit-norm embeddings."""
    rows = [
        F.normalize(encode(PROMPTS[factor][value]).float(), dim=-1).mean(0)
        for value in FACTORS[factor]
    ]
    return F.normalize(torch.stack(rows), dim=-1)


def correct(
    features: Float[Tensor, "image d_joint"],
    factors: Mapping[str, Int[np.ndarray, " image"]],
    classifiers: Classifiers,
) -> dict[str, Float[np.ndarray, " image"]]:
    """Per factor 1.0 where the prediction is right, 0.0 where wrong, NaN where it has no value."""
    found = {}
    for factor, weights in classifiers.items():
        truth = factors[factor]
        predicted = (features @ weights.T).argmax(1).cpu().numpy()
        found[factor] = np.where(truth >= 0, (predicted == truth).astype(float), np.nan)
    return found


def accuracies(
    features: Float[Tensor, "image d_joint"],
    factors: Mapping[str, Int[np.ndarray, " image"]],
    classifiers: Classifiers,
) -> dict[str, float]:
    """Accuracy per factor, over the pictures in which the factor has a value."""
    each = correct(features, factors, classifiers)
    return {
        factor: float(np.nanmean(hits)) for factor, hits in each.items() if np.isfinite(hits).any()
    }


def group_accuracies(
    hits: Float[np.ndarray, " image"],
    kind: Int[np.ndarray, " image"],
    place: Int[np.ndarray, " image"],
) -> dict[tuple[int, int], float]:
    """Accuracy per (kind, place) group that occurs."""
    return {
        (int(a), int(b)): float(hits[(kind == a) & (place == b)].mean())
        for a, b in sorted(set(zip(kind.tolist(), place.tolist(), strict=True)))
    }
