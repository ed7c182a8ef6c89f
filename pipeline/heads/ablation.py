"""Mean-ablation of heads: the direct effect on embeddings, logits and group accuracies (DESIGN §2).

    ablated = embedding − Σ_S Q (vector − mean)

with σ and the norm frozen, and the result not renormalised. Against a class weight w the effect of
a head is one scalar per picture, ⟨vector − mean, Qᵀ w⟩, so no model runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


def project(
    q: Float[np.ndarray, "head d_joint d_head"], space: Float[np.ndarray, "k d_joint"]
) -> Float[np.ndarray, "head d_head k"]:
    """Return Qᵀ spaceᵀ in float32: from a head's frame to ⟨c, row⟩ for every row of `space`.

    The rows are class weights, for logits, or the identity, for the joint space itself.
    """
    return np.swapaxes(space.astype(np.float64) @ q, 1, 2).astype(np.float32)


def head_logits(
    vectors: Float[np.ndarray, "head image d_head"], projected: Float[np.ndarray, "head d_head k"]
) -> Float[np.ndarray, "head image k"]:
    """Return each head's part of the pictures' logits, ⟨c, w⟩ for every row w of the space."""
    return vectors.astype(np.float32) @ projected


def shift(
    vectors: Float[np.ndarray, "head image d_head"],
    means: Float[np.ndarray, "head d_head"],
    projected: Float[np.ndarray, "head d_head k"],
) -> Float[np.ndarray, "image k"]:
    """Return Σ_S ⟨c − mean(c), w⟩: what mean-ablating these heads takes away."""
    total = np.zeros((vectors.shape[1], projected.shape[2]), np.float32)
    for v, mean, frame in zip(vectors, means, projected, strict=True):
        total += (v.astype(np.float32) - mean.astype(np.float32)) @ frame
    return total


def ablate(
    embedding: Float[np.ndarray, "image d_joint"],
    vectors: Float[np.ndarray, "head image d_head"],
    means: Float[np.ndarray, "head d_head"],
    q: Float[np.ndarray, "head d_joint d_head"],
) -> Float[np.ndarray, "image d_joint"]:
    """Return embeddings with these heads replaced by their means, not renormalised."""
    identity = np.eye(embedding.shape[1])
    return embedding.astype(np.float32) - shift(vectors, means, project(q, identity))


@dataclass(frozen=True)
class GroupAccuracy:
    """Accuracy by group.

    Attributes:
        groups: names, in order.
        n: pictures per group.
        accuracy: per group.
    """

    groups: tuple[str, ...]
    n: tuple[int, ...]
    accuracy: tuple[float, ...]

    @property
    def worst(self) -> float:
        """The lowest group's accuracy."""
        return min(self.accuracy)

    @property
    def mean(self) -> float:
        """Accuracy over all pictures."""
        return float(np.average(self.accuracy, weights=self.n))


def group_accuracy(
    correct: Bool[np.ndarray, " image"], groups: Int[np.ndarray, " image"], names: Sequence[str]
) -> GroupAccuracy:
    """Return accuracy in each group that has pictures."""
    n = np.bincount(groups, minlength=len(names))
    hits = np.bincount(groups, weights=correct, minlength=len(names))
    there = [i for i in range(len(names)) if n[i]]
    return GroupAccuracy(
        tuple(names[i] for i in there),
        tuple(int(n[i]) for i in there),
        tuple(float(hits[i] / n[i]) for i in there),
    )


@dataclass(frozen=True)
class Choice:
    """Heads chosen to be switched off, in order.

    Attributes:
        heads: indices into the heads given; empty when switching off none is best.
        worst: the worst group's accuracy without any ablation, then after each step.
        mean: likewise over all pictures.
    """

    heads: tuple[int, ...]
    worst: tuple[float, ...]
    mean: tuple[float, ...]


def choose_greedily(
    logits: Float[np.ndarray, "image class"],
    effects: Float[np.ndarray, "head image class"],
    truth: Int[np.ndarray, " image"],
    groups: Int[np.ndarray, " image"],
    *,
    candidates: Sequence[int],
    most: int,
    tolerance: float = 0.01,
) -> Choice:
    """Switch off, one by one, the head that raises the worst group's accuracy most.

    A step may raise nothing, since two groups can be worst in turn; of the way of up to `most`
    steps, the shortest part that reaches the highest worst group is kept. No step may take the
    mean more than `tolerance` below what it was without any ablation. Ties go to the higher mean,
    then to the earlier candidate.

    Args:
        logits: of the validation pictures.
        effects: centred: each head's part of the logits less its mean.
        truth: the true class.
        groups: numbers from 0.
        candidates: indices into `effects`.
        most: largest number of heads.
        tolerance: how much the mean may lose.
    """
    names = [str(g) for g in range(int(groups.max()) + 1)]

    def score(left: Float[np.ndarray, "image class"]) -> GroupAccuracy:
        return group_accuracy(left.argmax(axis=1) == truth, groups, names)

    base = score(logits)
    left = logits.astype(np.float32)
    picked: list[int] = []
    worst, mean = [base.worst], [base.mean]
    while len(picked) < most:
        best: tuple[float, float, int] | None = None
        for head in (c for c in candidates if c not in picked):
            found = score(left - effects[head])
            if found.mean < base.mean - tolerance:
                continue
            if best is None or (found.worst, found.mean) > best[:2]:
                best = (found.worst, found.mean, head)
        if best is None:
            break
        picked.append(best[2])
        worst.append(best[0])
        mean.append(best[1])
        left = left - effects[best[2]]
    steps = int(np.argmax(worst))
    return Choice(tuple(picked[:steps]), tuple(worst[: steps + 1]), tuple(mean[: steps + 1]))


def choose_under_budget(
    logits: Float[np.ndarray, "image class"],
    effects: Float[np.ndarray, "head image class"],
    truth: Int[np.ndarray, " image"],
    groups: Int[np.ndarray, " image"],
    *,
    candidates: Sequence[int],
    most: int,
    tolerance: float = 0.01,
) -> Choice:
    """Switch off heads in the order given, as long as accuracy over all pictures allows it.

    Each candidate is taken if with it the mean is not more than `tolerance` below what it was
    without any ablation, else passed over (Dyslexify, arXiv 2508.20570). Nothing is asked of the
    worst group: what the heads are switched off for need not be in these pictures.

    Args:
        logits: of the validation pictures.
        effects: centred: each head's part of the logits less its mean.
        truth: the true class.
        groups: numbers from 0.
        candidates: indices into `effects`, the first to be tried first.
        most: largest number of heads.
        tolerance: how much the mean may lose.
    """
    names = [str(g) for g in range(int(groups.max()) + 1)]
    left = logits.astype(np.float32)
    base = group_accuracy(left.argmax(axis=1) == truth, groups, names)
    picked: list[int] = []
    worst, mean = [base.worst], [base.mean]
    for head in candidates:
        if len(picked) == most:
            break
        without = left - effects[head]
        found = group_accuracy(without.argmax(axis=1) == truth, groups, names)
        if found.mean >= base.mean - tolerance:
            left = without
            picked.append(head)
            worst.append(found.worst)
            mean.append(found.mean)
    return Choice(tuple(picked), tuple(worst), tuple(mean))


@dataclass(frozen=True)
class CueScores:
    """What heads' logits say of an attribute, against what they say of the target.

    Attributes:
        score: variance by attribute less variance by target, over the logits' own variance.
        about_attribute: share of the head's variance between attribute values, target held fixed.
        about_target: share between target classes, attribute held fixed.
    """

    score: Float[np.ndarray, " head"]
    about_attribute: Float[np.ndarray, " head"]
    about_target: Float[np.ndarray, " head"]


def attribute_against_target(
    logits: Float[np.ndarray, "image class"],
    effects: Float[np.ndarray, "head image class"],
    attribute: Int[np.ndarray, " image"],
    target: Int[np.ndarray, " image"],
) -> CueScores:
    """Score heads by how much more they move the decision with the attribute than with the target.

    What is common to all classes moves no decision and is taken out first. Shares are of variance
    between groups with the other factor held fixed, so that a correlation between attribute and
    target in the pictures at hand is not mistaken for a cue.
    """
    kept = effects - effects.mean(axis=2, keepdims=True)
    by_attribute, total = _between(kept, attribute, target)
    by_target, total_target = _between(kept, target, attribute)
    decision = logits - logits.mean(axis=1, keepdims=True)
    spread = float(((decision - decision.mean(axis=0)) ** 2).sum())
    return CueScores(
        (by_attribute - by_target) / (spread or 1.0),
        by_attribute / np.where(total > 0, total, 1),
        by_target / np.where(total_target > 0, total_target, 1),
    )


def _between(
    effects: Float[np.ndarray, "head image class"],
    factor: Int[np.ndarray, " image"],
    fixed: Int[np.ndarray, " image"],
) -> tuple[Float[np.ndarray, " head"], Float[np.ndarray, " head"]]:
    """Return sums of squares between values of `factor` and in all, within values of `fixed`."""
    between, total = np.zeros(len(effects)), np.zeros(len(effects))
    for value in np.unique(fixed):
        rows = effects[:, fixed == value].astype(np.float64)
        inner = factor[fixed == value]
        centred = rows - rows.mean(axis=1, keepdims=True)
        total += (centred**2).sum(axis=(1, 2))
        for kind in np.unique(inner):
            part = centred[:, inner == kind]
            between += part.shape[1] * (part.mean(axis=1) ** 2).sum(axis=1)
    return between, total
