"""Steps ahead among the leading texts of each head, then checked over all texts.

A step of `pipeline.heads.span` reads the projections of all texts for two products with vectors.
Here some steps are taken among the texts of the highest scores alone, and what they do to all
others is one product of matrices. Where one of the others could have been picked, the head goes
back to that step and takes these steps over all texts: picks are the same.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Int

from pipeline.heads.decided import ROUNDING, Decided
from pipeline.heads.span import FINISHED, Progress, advance

# Steps that are taken ahead, and texts among which they are.
_STEPS: Final = 8
_LEADING: Final = 256


def span_ahead(
    heads: Decided, steps: int
) -> tuple[Int[np.ndarray, "head rank"], Float[np.ndarray, "head rank"]]:
    """Return what `span` does."""
    progress, score = Progress.start(heads, steps), heads.first_scores()
    while progress.step < steps and progress.going.any():
        until = min(steps, progress.step + _STEPS)
        if score.shape[1] > 2 * _LEADING:
            _ahead(heads, score, progress, until)
        else:
            advance(heads, score, progress, until)
    return progress.picks, progress.removed


def _ahead(
    heads: Decided, score: Float32[np.ndarray, "head text"], progress: Progress, until: int
) -> None:
    """Pick texts up to step `until`, and bring the scores up to date, in place."""
    first, going = progress.step, np.flatnonzero(progress.going).tolist()
    texts = np.argpartition(score, -_LEADING, axis=1)[:, -_LEADING:]
    texts.sort(axis=1)
    leading, few = heads.among(texts), np.take_along_axis(score, texts, axis=1)
    advance(leading, few, progress, until)
    block = progress.picks[:, first:until]
    named = np.take_along_axis(texts, np.maximum(block, 0), axis=1)
    block[:] = np.where(block >= 0, named, -1)
    for head in going:
        _check(heads, score, progress, head, first, until, texts[head], few[head])
        if leading.anew[head]:
            heads.refresh(head, score[head], progress.basis[head, :until])


def _check(
    heads: Decided,
    score: Float32[np.ndarray, "head text"],
    progress: Progress,
    head: int,
    first: int,
    until: int,
    texts: Int[np.ndarray, " k"],
    few: Float32[np.ndarray, " k"],
) -> None:
    """Keep a head's steps where no other text comes before a pick; else take them over all."""
    u, v = (a[head, first:until] for a in (progress.basis, progress.across))
    both = np.concatenate([u, v]).astype(np.float32) @ heads.r[head]
    change = both[: until - first]
    change *= both[until - first :]
    # the scores before each step, and after the last
    change[0] += score[head]
    for before, after in pairwise(change):
        after += before
    slack = heads.slack[head] + ROUNDING * np.cumsum([0, *np.linalg.norm(v, axis=1)])
    others = np.concatenate([score[head : head + 1], change[:-1]])
    others[:, texts] = -np.inf
    reach = others.max(axis=1) + slack[:-1] * heads.heaviest[head]
    picked = progress.picks[head, first:until] >= 0
    over = progress.left[head, first:until] <= FINISHED * heads.total[head]
    right = np.where(picked, reach < progress.lead[head, first:until], over)
    if right.all():
        score[head] = change[-1]
        score[head, texts] = few
        heads.slack[head] = slack[-1]
        return
    wrong = int(right.argmin())
    if wrong:
        score[head] = change[wrong - 1]
        score[head, progress.picks[head, first : first + wrong]] = -np.inf
    heads.slack[head] = slack[wrong]
    advance(heads.only(head), score[head : head + 1], progress.back(head, first + wrong), until)
