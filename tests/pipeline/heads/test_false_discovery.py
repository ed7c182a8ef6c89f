"""q-values are Benjamini and Hochberg's, to the last digit those of SciPy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from pipeline.heads.false_discovery import q_values


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_q_values_are_those_of_scipy(p: list[float]) -> None:
    np.testing.assert_array_equal(q_values(np.array(p)), false_discovery_control(p))


def test_discoveries_are_those_of_the_step_up_procedure() -> None:
    p = np.random.default_rng(0).beta(0.3, 1, size=(20, 15))
    for level in (0.01, 0.05, 0.2):
        ordered = np.sort(p.ravel())
        reached = np.flatnonzero(ordered <= level * np.arange(1, p.size + 1) / p.size)
        expected = p <= ordered[reached.max()] if len(reached) else p < 0
        np.testing.assert_array_equal(q_values(p) <= level, expected)


def test_no_test_has_no_q_value() -> None:
    assert q_values(np.empty((0, 3))).shape == (0, 3)
