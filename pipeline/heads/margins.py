"""Heads that push biased groups to the wrong class: contrast of margins.

A search for spurious heads after Locate-Then-Correct (arXiv 2505.17425). On the pictures of the
groups that fare worse than all (the biased groups), a head's margin is what it gives the strongest
wrong class less what it gives the right one:

    m_h(i) = effect_h(i, wrong) − effect_h(i, right)
    c_h(i) = m_h(i) − mean of m_h over rightly classified pictures of the biased groups
    score_h = share of the wrongly classified ones in which h has the largest c of all heads

Effects are less the head's mean, which is taken over the pictures that the search may see.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from pipeline.heads.ablation import group_accuracy


class MarginContrast(NamedTuple):
    """How often heads top the contrast.

    Attributes:
        score: of each head; they sum to 1, or are 0 where no biased picture is wrong.
        wrong: wrongly classified pictures of the biased groups.
        right: rightly classified ones.
    """

    score: Float[np.ndarray, " head"]
    wrong: int
    right: int


def margin_contrast(
    logits: Float[np.ndarray, "image class"],
    effects: Float[np.ndarray, "head image class"],
    truth: Int[np.ndarray, " image"],
    groups: Int[np.ndarray, " image"],
) -> MarginContrast:
    """Score heads by how often they top the contrast of margins.

    Args:
        logits: of the pictures.
        effects: centred: each head's part of the logits less its mean.
        truth: the true class.
        groups: numbers from 0.
    """
    rows = np.arange(len(truth))
    others = logits.copy()
    others[rows, truth] = -np.inf
    wrong_class = others.argmax(axis=1)
    correct = logits.argmax(axis=1) == truth
    biased = _biased(correct, groups)
    margin = effects[:, rows, wrong_class] - effects[:, rows, truth]
    wrong, right = biased & ~correct, biased & correct
    usual = margin[:, right].mean(axis=1) if right.any() else np.zeros(len(effects))
    score = np.zeros(len(effects))
    if wrong.any():
        top = (margin[:, wrong] - usual[:, None]).argmax(axis=0)
        score = np.bincount(top, minlength=len(effects)) / int(wrong.sum())
    return MarginContrast(score, int(wrong.sum()), int(right.sum()))


def _biased(
    correct: Bool[np.ndarray, " image"], groups: Int[np.ndarray, " image"]
) -> Bool[np.ndarray, " image"]:
    """Return which pictures are of a group that fares worse than all pictures do."""
    names = [str(g) for g in range(int(groups.max()) + 1)]
    found = group_accuracy(correct, groups, names)
    pairs = zip(found.groups, found.accuracy, strict=True)
    worse = [int(name) for name, share in pairs if share < found.mean]
    return np.isin(groups, worse)
