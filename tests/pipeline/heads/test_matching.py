"""Matching heads by CKA: best, mutual, one to one."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from pipeline.heads.matching import matches


def test_best_mutual_and_assigned_are_those_of_a_search() -> None:
    rng = np.random.default_rng(4)
    cka, p = rng.random((5, 7)), rng.random((5, 7)) * 0.01
    found = matches(cka, p)
    assert found.head.tolist() == list(range(5))
    assert found.best.tolist() == cka.argmax(axis=1).tolist()
    assert found.mutual.tolist() == [cka[:, b].argmax() == i for i, b in enumerate(found.best)]
    expected = 1 - (1 - p[range(5), found.best]) ** 7
    np.testing.assert_allclose(found.p_value, expected, rtol=1e-12)
    np.testing.assert_allclose(found.q_value, false_discovery_control(expected))
    most = max(permutations(range(7), 5), key=lambda own: cka[range(5), own].sum())
    assert found.assigned.tolist() == list(most)


def test_heads_that_do_not_vary_match_nothing() -> None:
    cka = np.array([[np.nan, np.nan, np.nan], [0.9, np.nan, 0.2], [0.8, np.nan, 0.1]])
    p = np.where(np.isnan(cka), 1.0, 1e-300)
    found = matches(cka, p)
    assert found.head.tolist() == [1, 2] and found.best.tolist() == [0, 0]
    assert found.mutual.tolist() == [True, False]
    assert sorted(found.assigned.tolist()) == [0, 2]
    assert found.p_value == pytest.approx([2e-300, 2e-300])
    # as a pair that anything beats
    assert matches(np.array([[0.5]]), np.array([[1.0]])).p_value.tolist() == [1.0]
    assert matches(np.full((2, 2), np.nan), np.ones((2, 2))).head.size == 0
