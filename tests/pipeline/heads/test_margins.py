"""Contrast of margins, against its definition picture by picture."""

import numpy as np
import pytest

from pipeline.heads.margins import margin_contrast


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    effects = rng.normal(size=(5, 60, 3))
    truth, groups = rng.integers(0, 3, 60), rng.integers(0, 4, 60)
    # head 2 pushes class 0 in group 1, whatever is true
    effects[2, groups == 1, 0] += 4
    return effects.sum(axis=0) + rng.normal(size=(60, 3)), effects, truth, groups


@pytest.mark.parametrize("seed", range(5))
def test_score_is_how_often_a_head_tops_the_contrast(seed: int) -> None:
    logits, effects, truth, groups = drawn(seed)
    right = [int(np.argmax(row)) == t for row, t in zip(logits, truth, strict=True)]
    worse = [
        g
        for g in range(4)
        if np.mean([r for r, of in zip(right, groups, strict=True) if of == g]) < np.mean(right)
    ]

    def margin(head: int, i: int) -> float:
        wrong = max((c for c in range(3) if c != truth[i]), key=lambda c: logits[i, c])
        return float(effects[head, i, wrong] - effects[head, i, truth[i]])

    biased = [i for i in range(60) if groups[i] in worse]
    usual = [np.mean([margin(h, i) for i in biased if right[i]]) for h in range(5)]
    tops = [max(range(5), key=lambda h: margin(h, i) - usual[h]) for i in biased if not right[i]]
    found = margin_contrast(logits, effects, truth, groups)
    np.testing.assert_allclose(found.score, [tops.count(h) / len(tops) for h in range(5)])
    assert (found.wrong, found.right) == (len(tops), len(biased) - len(tops))


def test_the_head_that_misleads_a_group_is_first_and_nothing_wrong_is_no_score() -> None:
    rng = np.random.default_rng(0)
    truth, groups = rng.integers(0, 3, 300), rng.integers(0, 4, 300)
    effects = rng.normal(size=(5, 300, 3)) * 0.3
    effects[0] += 2 * np.eye(3)[truth]
    effects[2, groups == 1, 0] += 4
    found = margin_contrast(effects.sum(axis=0), effects, truth, groups)
    assert found.score.argmax() == 2 and found.score[2] > 0.9
    sure = np.eye(3)[truth] * 10
    assert not margin_contrast(sure, effects, truth, groups).score.any()
