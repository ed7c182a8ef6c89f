"""TextSpan on moments picks what the paper's Algorithm 1 picks on the pictures themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.heads.decided import Decided
from pipeline.heads.span import Rotated, span
from pipeline.heads.textspan import textspan


def algorithm_1(c: np.ndarray, r: np.ndarray, m: int) -> tuple[list[int], list[float]]:
    """Run Algorithm 1 of the paper in the joint space: c [image, d_joint], r [text, d_joint]."""
    c, r = c - c.mean(axis=0), r.copy()
    picks: list[int] = []
    removed = []
    for _ in range(m):
        variances = (r @ c.T).var(axis=1)
        variances[picks] = -1
        best = int(variances.argmax())
        u = r[best] / np.linalg.norm(r[best])
        removed.append(float((c @ u).var()))
        c, r = c - np.outer(c @ u, u), r - np.outer(r @ u, u)
        picks.append(best)
    return picks, removed


def case(
    seed: int, images: int = 300, texts: int = 150, d_joint: int = 24, d_head: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(d_joint, d_head)))[0]
    vectors = rng.normal(size=(images, d_head)) @ rng.normal(size=(d_head, d_head)) + 2
    pool = rng.normal(size=(texts, d_joint))
    return vectors, q, pool / np.linalg.norm(pool, axis=1, keepdims=True)


def covariance(vectors: np.ndarray) -> np.ndarray:
    return np.cov(vectors.T, bias=True)


@pytest.mark.parametrize("seed", range(24))
def test_picks_equal_the_literal_algorithm(seed: int) -> None:
    vectors, q, pool = case(seed)
    basis = textspan(covariance(vectors)[None], q[None], pool, 8)
    picks, removed = algorithm_1(vectors @ q.T, pool @ q @ q.T, 8)
    assert list(basis.picks[0]) == picks
    np.testing.assert_allclose(basis.variance[0], removed, rtol=1e-6, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 8), renormalise=st.booleans())
def test_residual_variance_never_rises_and_stays_under_the_ceiling(
    seed: int, steps: int, renormalise: bool
) -> None:
    vectors, q, pool = case(seed, images=40, texts=30)
    basis = textspan(covariance(vectors)[None], q[None], pool, steps, renormalise=renormalise)
    assert (basis.variance >= 0).all()
    assert (basis.cumulative <= basis.pca_cumulative + 1e-9).all()
    chosen = basis.picks[basis.picks >= 0]
    assert len(set(chosen)) == len(chosen)


def somp(c: np.ndarray, r: np.ndarray, m: int) -> tuple[list[int], list[float]]:
    """Pursue literally: atoms of unit length, each residual by least squares on all picks."""
    c, atoms = c - c.mean(axis=0), r / np.linalg.norm(r, axis=1, keepdims=True)
    picks: list[int] = []
    left = [(c**2).sum() / len(c)]
    residual = c
    for _ in range(m):
        score = ((residual @ atoms.T) ** 2).sum(axis=0)
        score[picks] = -1
        picks.append(int(score.argmax()))
        weights = np.linalg.lstsq(atoms[picks].T, c.T, rcond=None)[0]
        residual = c - (atoms[picks].T @ weights).T
        left.append((residual**2).sum() / len(c))
    return picks, (-np.diff(left)).tolist()


@pytest.mark.parametrize("seed", range(12))
def test_renormalised_picks_are_those_of_a_literal_pursuit(seed: int) -> None:
    vectors, q, pool = case(seed)
    basis = textspan(covariance(vectors)[None], q[None], pool, 7, renormalise=True)
    picks, removed = somp(vectors, pool @ q, 7)
    assert list(basis.picks[0]) == picks
    np.testing.assert_allclose(basis.variance[0], removed, rtol=1e-6, atol=1e-10)


def test_a_stack_of_heads_equals_each_head_alone() -> None:
    cases = [case(seed) for seed in range(11)]
    pool = cases[0][2]
    sigmas = np.stack([covariance(v) for v, _, _ in cases])
    frames = np.stack([q for _, q, _ in cases])
    together = textspan(sigmas, frames, pool, 6)
    for i in range(len(cases)):
        alone = textspan(sigmas[i : i + 1], frames[i : i + 1], pool, 6)
        np.testing.assert_array_equal(together.picks[i], alone.picks[0])


def test_stops_when_no_variance_is_left() -> None:
    vectors, q, pool = case(0)
    flat = vectors.copy()
    flat[:, 3:] = 1
    basis = textspan(covariance(flat)[None], q[None], pool, 8)
    assert (basis.picks[0] >= 0).sum() <= 8
    np.testing.assert_allclose(basis.cumulative[0, -1], 1, atol=1e-9)
    still = textspan(np.zeros((1, 8, 8)), q[None], pool, 8)
    assert (still.picks == -1).all()
    assert (still.explained == 0).all()


def test_a_repeated_text_is_picked_once() -> None:
    vectors, q, pool = case(1, texts=5)
    twice = np.concatenate([pool, pool, -pool])
    basis = textspan(covariance(vectors)[None], q[None], twice, 8)
    assert (basis.picks[0] >= 0).sum() == 5


def test_renormalising_takes_lengths_out() -> None:
    vectors, q, pool = case(2)
    scaled = pool * np.linspace(1, 9, len(pool))[:, None]
    plain = textspan(covariance(vectors)[None], q[None], pool, 8, renormalise=True)
    same = textspan(covariance(vectors)[None], q[None], scaled, 8, renormalise=True)
    np.testing.assert_array_equal(plain.picks, same.picks)


def near_ties(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw texts in pairs that differ by less than float32 can tell, and a steep spectrum."""
    rng = np.random.default_rng(seed)
    vectors, q, pool = case(seed, texts=400)
    pool = np.concatenate([pool, pool * (1 + 3e-9 * rng.normal(size=(400, 1)))])
    vectors = (vectors - 2) * 10.0 ** -np.arange(8)
    return vectors, q, pool[rng.permutation(800)]


@pytest.mark.parametrize("seed", range(12))
def test_picks_equal_the_literal_algorithm_where_float32_cannot_decide(seed: int) -> None:
    vectors, q, pool = near_ties(seed)
    basis = textspan(covariance(vectors)[None], q[None], pool, 7)
    picks, removed = algorithm_1(vectors @ q.T, pool @ q @ q.T, 7)
    assert basis.picks[0].tolist() == picks
    np.testing.assert_allclose(basis.variance[0], removed, rtol=1e-5)


def rotated(sigma: np.ndarray, r: np.ndarray) -> Rotated:
    """Give covariances as directions of their own, each with one spectrum."""
    spectra, directions = np.linalg.eigh(sigma)
    return Rotated(directions, np.clip(spectra, 0, None)[:, None], r)


def test_many_covariances_over_one_set_of_texts_equal_each_alone() -> None:
    rng = np.random.default_rng(7)
    r = rng.normal(size=(8, 200)).astype(np.float32)
    mixed = rng.normal(size=(20, 8, 8))
    sigma = mixed @ mixed.transpose(0, 2, 1)
    sigma[3] = 0
    picks, removed = span(rotated(sigma, r), 6)
    for i in range(20):
        alone, gone = span(rotated(sigma[i : i + 1], r), 6)
        np.testing.assert_array_equal(picks[i], alone[0])
        np.testing.assert_allclose(removed[i], gone[0], rtol=1e-5)
    assert (picks[3] == -1).all()
    images = np.linalg.cholesky(sigma[0]) @ np.linalg.qr(rng.normal(size=(500, 8)))[0].T * 500**0.5
    expected, _ = algorithm_1(images.T - images.T.mean(0), r.T.astype(np.float64), 4)
    assert picks[0, :2].tolist() == expected[:2]


def test_one_set_of_directions_with_many_spectra_equals_the_literal_algorithm() -> None:
    rng = np.random.default_rng(8)
    r = rng.normal(size=(8, 700)).astype(np.float32)
    directions = np.linalg.qr(rng.normal(size=(3, 8, 8)))[0]
    spectra = rng.exponential(size=(3, 5, 8)) ** 2
    picks, removed = span(Rotated(directions, spectra, r), 6)
    for row, (a, b) in enumerate(np.ndindex(3, 5)):
        images = vectors_with(directions[a] * spectra[a, b] @ directions[a].T, rng)
        expected, gone = algorithm_1(images, r.T.astype(np.float64), 6)
        assert picks[row].tolist() == expected
        np.testing.assert_allclose(removed[row], gone, rtol=1e-5)


def vectors_with(sigma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw pictures whose covariance is exactly this."""
    drawn = rng.normal(size=(4 * len(sigma), len(sigma)))
    white = np.linalg.qr(drawn - drawn.mean(axis=0))[0] * len(drawn) ** 0.5
    return np.asarray(white @ np.linalg.cholesky(sigma).T)


def test_picks_in_a_large_pool_of_clusters_equal_the_literal_algorithm() -> None:
    rng = np.random.default_rng(12)
    vectors, q, centres = case(12, texts=9, d_joint=40, d_head=16)
    pool = np.repeat(centres, 200, axis=0) + 0.02 * rng.normal(size=(1800, 40))
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    basis = textspan(covariance(vectors)[None], q[None], pool, 16)
    picks, removed = algorithm_1(vectors @ q.T, pool @ q @ q.T, 16)
    assert basis.picks[0].tolist() == picks
    np.testing.assert_allclose(basis.variance[0], removed, rtol=1e-5)


def test_texts_that_span_few_directions_run_out() -> None:
    rng = np.random.default_rng(13)
    vectors, q, _ = case(13)
    pool = rng.normal(size=(900, 3)) @ q[:, :3].T
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    basis = textspan(covariance(vectors)[None], q[None], pool, 8)
    picks, _ = algorithm_1(vectors @ q.T, pool @ q @ q.T, 3)
    assert basis.picks[0].tolist() == [*picks, -1, -1, -1, -1, -1]


@pytest.mark.parametrize("renormalise", [False, True])
def test_more_near_ties_than_are_decided_at_once(renormalise: bool) -> None:
    rng = np.random.default_rng(11)
    vectors, q, pool = case(11, texts=6)
    pool = np.repeat(pool, 200, axis=0) * (1 + 3e-9 * rng.normal(size=(1200, 1)))
    pool += 1e-9 * rng.normal(size=pool.shape)
    basis = textspan(covariance(vectors)[None], q[None], pool, 6, renormalise=renormalise)
    literal = somp if renormalise else algorithm_1
    picks, _ = literal(vectors @ q.T, pool @ q @ q.T, 6)
    assert basis.picks[0].tolist() == picks


@pytest.mark.parametrize("seed", range(4))
def test_picks_equal_the_literal_algorithm_down_to_the_last_of_a_steep_spectrum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, q, pool = case(seed, texts=300, d_joint=40, d_head=16)
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    vectors = vectors_with(turn * 10.0 ** (-np.arange(16) / 3) @ turn.T, rng)
    basis = textspan(covariance(vectors)[None], q[None], pool, 15)
    picks, removed = algorithm_1(vectors @ q.T, pool @ q @ q.T, 15)
    assert basis.picks[0].tolist() == picks
    np.testing.assert_allclose(basis.variance[0], removed, rtol=1e-5)


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_scores_are_off_float64_by_no_more_than_their_bounds(seed: int, renormalise: bool) -> None:
    rng = np.random.default_rng(seed)
    _, q, pool = case(seed, texts=300, d_joint=40, d_head=16)
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    sigma = turn * 10.0 ** (-np.arange(16) / 3) @ turn.T
    single = pool.T.astype(np.float32)
    decided = Decided(sigma[None], [q], pool, single, renormalise=renormalise)
    r = pool @ q
    if renormalise:
        r /= np.linalg.norm(r, axis=1, keepdims=True)
    score, basis = decided.first_scores(), np.zeros((1, 15, 16))
    of_texts = []
    for step in range(15):
        left = np.eye(16) - basis[0].T @ basis[0]
        left = left @ sigma @ left
        exact = ((r @ left) * r).sum(axis=1)
        there = score[0] > -np.inf
        bound = decided.slack[0] @ decided.weight[0]
        assert (np.abs(score[0] - exact) <= bound)[there].all()
        of_texts.append(decided.slack[0, 1])
        best, residual = decided.best(score, basis[:, :step], np.ones(1, bool))
        u = residual / np.linalg.norm(residual)
        w = u @ left
        decided.update(score, u, (u * w).sum() * u - 2 * w)
        score[0, best] = -np.inf
        basis[0, step] = u
    assert of_texts[-1] < 0.1 * of_texts[0]


def test_heads_of_different_widths_are_each_spanned_alone() -> None:
    narrow, wide = case(3, d_head=5), case(4, d_head=9)
    frames, sigmas = [narrow[1], wide[1]], [covariance(narrow[0]), covariance(wide[0])]
    together = textspan(sigmas, frames, wide[2], 9)
    assert together.picks.shape == (2, 9) and (together.picks[0, 5:] == -1).all()
    assert [v.shape for v in together.vectors] == [(9, 5), (9, 9)]
    for i in range(2):
        alone = textspan(sigmas[i][None], frames[i][None], wide[2], 9)
        width = alone.picks.shape[1]
        np.testing.assert_array_equal(together.picks[i, :width], alone.picks[0])
        np.testing.assert_allclose(together.cumulative[i, :width], alone.cumulative[0])


@pytest.mark.parametrize("renormalise", [False, True])
def test_a_tiny_variance_changes_no_pick(renormalise: bool) -> None:
    vectors, q, pool = case(5)
    sigma = covariance(vectors)
    scales = np.array([1, 1e-12, 1e-36, 1e-60])[:, None, None]
    basis = textspan(scales * sigma, [q] * 4, pool, 8, renormalise=renormalise)
    for picks in basis.picks:
        np.testing.assert_array_equal(picks, basis.picks[0])
    np.testing.assert_allclose(basis.explained, basis.explained[:1].repeat(4, axis=0), rtol=1e-9)
