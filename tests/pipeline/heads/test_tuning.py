"""Spectral tuning: its loss and gradient against the formula literally, and what it can learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.heads.tuning import Problem, fit, folds, held_out, loss, scores

SCALE = 20.0


def heads(seed: int, n: int = 30, d_joint: int = 12, width: int = 4) -> dict[str, np.ndarray]:
    """Draw two heads' frames, directions and vectors, embeddings, class weights and classes."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((2, n, width)) * np.linspace(1, 0.2, width)
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    weights = rng.standard_normal((3, d_joint))
    return {
        "q": np.linalg.qr(rng.standard_normal((2, d_joint, width)))[0],
        "v": np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)[1],
        "vectors": vectors,
        "e": rng.standard_normal((n, d_joint)),
        "w": weights / np.linalg.norm(weights, axis=1, keepdims=True),
        "truth": rng.integers(0, 3, n),
    }


def problem_of(drawn: dict[str, np.ndarray]) -> Problem:
    centred = drawn["vectors"] - drawn["vectors"].mean(axis=1, keepdims=True)
    z = np.concatenate([c @ v for c, v in zip(centred, drawn["v"], strict=True)], axis=1)
    b = np.concatenate(
        [(drawn["w"] @ q @ v).T for q, v in zip(drawn["q"], drawn["v"], strict=True)]
    )
    return Problem(drawn["e"] @ drawn["w"].T, z, b, drawn["truth"])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), ridge=st.sampled_from([0.0, 0.3]))
def test_loss_and_gradient_are_those_of_the_tuned_embedding(seed: int, ridge: float) -> None:
    drawn = heads(seed)
    delta = np.random.default_rng(seed + 1).standard_normal(8) * 0.5
    found, gradient = loss(delta, problem_of(drawn), ridge, SCALE)
    t = {name: torch.tensor(value) for name, value in drawn.items()}
    free = torch.tensor(delta, requires_grad=True)
    tuned = t["e"]
    for h in range(2):
        centred = t["vectors"][h] - t["vectors"][h].mean(dim=0)
        weigh = torch.diag(free[4 * h : 4 * h + 4])
        tuned = tuned + (t["q"][h] @ t["v"][h] @ weigh @ t["v"][h].T @ centred.T).T
    expected = torch.nn.functional.cross_entropy(SCALE * tuned @ t["w"].T, t["truth"])
    expected = expected + ridge / 2 * (free**2).sum()
    expected.backward()
    assert found == pytest.approx(expected.item(), abs=1e-10)
    assert free.grad is not None
    np.testing.assert_allclose(gradient, free.grad.numpy(), atol=1e-10)
    np.testing.assert_allclose(
        problem_of(drawn).logits(delta), (tuned @ t["w"].T).detach().numpy(), atol=1e-10
    )


def test_what_is_fitted_is_a_minimum_and_more_ridge_is_less_tuning() -> None:
    problem = problem_of(heads(3))
    delta = fit(problem, 0.01, SCALE)
    value, gradient = loss(delta, problem, 0.01, SCALE)
    assert np.abs(gradient).max() < 1e-3 < loss(np.zeros(8), problem, 0.01, SCALE)[0] - value
    assert np.linalg.norm(fit(problem, 10.0, SCALE)) < np.linalg.norm(delta)


def cue(n: int, seed: int, label: np.ndarray | None = None) -> Problem:
    """Draw pictures one direction of which tells the class, drowned by another that does not."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    z = rng.standard_normal((n, 10))
    z[:, 0] = (truth * 2 - 1) * 0.2 + rng.standard_normal(n) * 0.05
    b = np.stack([-np.ones(10), np.ones(10)], axis=1) * 0.1
    base = z[:, :2] @ b[:2]
    return Problem(base, z, b, truth if label is None else label)


def test_tuning_finds_the_direction_that_tells_and_is_right_on_held_out_pictures() -> None:
    problem = cue(300, 1)
    fold = folds(problem.truth, 5, 0)
    found = scores(
        problem, held_out(problem, fold, 0.01, SCALE), [(str(t),) for t in problem.truth]
    )
    assert found[0].before < 0.75 and found[0].after > 0.95
    assert [s.group for s in found] == [None, ("0",), ("1",)]
    assert found[0].n == found[1].n + found[2].n == 300
    weighed = found[1].n * found[1].after + found[2].n * found[2].after
    assert found[0].after == pytest.approx(weighed / 300)


def test_shuffled_labels_teach_nothing() -> None:
    rng = np.random.default_rng(5)
    problem = cue(300, 1, rng.integers(0, 2, 300))
    predicted = held_out(problem, folds(problem.truth, 5, 0), 0.01, SCALE)
    assert abs((predicted == problem.truth).mean() - 0.5) < 0.1


def test_folds_spread_every_class() -> None:
    truth = np.array([0] * 11 + [1] * 3 + [2] * 6)
    fold = folds(truth, 3, 7)
    for value, sizes in ((0, {3, 4}), (1, {1}), (2, {2})):
        assert set(np.bincount(fold[truth == value], minlength=3).tolist()) == sizes
    assert (fold == folds(truth, 3, 7)).all() and (fold != folds(truth, 3, 8)).any()
