"""Roles: p-values that mean what they say, attributes that add up, roles that survive."""

import numpy as np
import pytest
from scipy.stats import beta, chi2, false_discovery_control, kstest

from pipeline.heads.attributes import cumulant_tail, encode_columns, explained, group_sums
from pipeline.heads.textspan import textspan
from pipeline.roles import rotation_null
from pipeline.roles.enrichment import enrichment, tail
from pipeline.roles.rotation_null import Turned, _beta_tail, _turns, turned
from tests.pipeline.heads.test_textspan import algorithm_1


def drawn_picks(
    rng: np.random.Generator, heads: int, texts: int, m: int
) -> tuple[np.ndarray, np.ndarray]:
    picks = np.stack([rng.permutation(texts)[:m] for _ in range(heads)])
    explained = np.sort(rng.exponential(size=(heads, m)) ** 2, axis=1)[:, ::-1]
    return picks, explained / explained.sum(axis=1, keepdims=True) * 0.9


def test_tail_equals_enumeration() -> None:
    weights = np.array([512, 256, 128, 64, 64]) / 1024
    hits = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [0, 1]], bool)
    frequency = np.array([0.1, 0.3])
    expected = []
    for p in range(2):
        total = 0.0
        for code in range(32):
            bits = np.array([code >> r & 1 for r in range(5)], bool)
            if weights @ bits >= weights @ hits[:, p] - 1e-12:
                total += np.prod(np.where(bits, frequency[p], 1 - frequency[p]))
        expected.append(total)
    np.testing.assert_allclose(tail(weights, hits, frequency), expected, rtol=1e-12)


def test_refined_tails_agree_with_many_permutations() -> None:
    rng = np.random.default_rng(0)
    labels = [f"p{i}" for i in rng.integers(0, 10, 400)]
    picks, weights = drawn_picks(rng, 30, 400, 20)
    few = enrichment(picks, weights, labels, permutations=100)
    many = enrichment(picks, weights, labels, permutations=40_000, seed=1)
    seen = (many.p_value > 1e-3) & (many.p_value < 0.5)
    ratio = few.p_value[seen] / many.p_value[seen]
    assert np.median(np.abs(np.log(ratio))) < 0.15


def test_p_values_hold_when_properties_mean_nothing() -> None:
    rng = np.random.default_rng(1)
    labels = [f"p{i}" for i in rng.integers(0, 20, 2000)]
    picks, weights = drawn_picks(rng, 200, 2000, 60)
    found = enrichment(picks, weights, labels, permutations=2000)
    assert (found.p_value <= 0.05).mean() < 0.06
    assert (found.q_value < 0.05).any(axis=1).mean() <= 0.05
    np.testing.assert_allclose(found.share.sum(axis=1), 1)


def test_a_head_of_one_property_is_called_and_one_dominant_pick_is_not() -> None:
    rng = np.random.default_rng(2)
    labels = [f"p{i % 10}" for i in range(500)]
    picks, weights = drawn_picks(rng, 40, 500, 20)
    picks[0] = np.arange(20) * 10 + 3
    weights[0] = 0.04
    weights[1] = [0.9, *[0.001] * 19]
    found = enrichment(picks, weights, labels, permutations=500)
    assert found.properties[int(found.share[0].argmax())] == "p3"
    assert found.p_value[0, 3] < 1e-15
    assert found.effective_picks[0] == pytest.approx(20)
    assert found.q_value[1].min() > 0.05


def test_heads_that_ran_out_and_texts_without_property() -> None:
    labels = ["a", None, "b", ""]
    found = enrichment(
        np.array([[0, 2, -1], [-1, -1, -1]]),
        np.array([[0.5, 0.25, 0.0], [0.0, 0.0, 0.0]]),
        labels,
        permutations=50,
    )
    np.testing.assert_allclose(found.share, [[2 / 3, 1 / 3], [0, 0]])
    assert (found.p_value[1] == 1).all()
    assert found.effective_picks[1] == 0


def head_case(
    rng: np.random.Generator, heads: int, d_joint: int = 40, width: int = 16
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw frames, covariances of random heads, and texts clustered by property."""
    q = np.linalg.qr(rng.normal(size=(heads, d_joint, width)))[0]
    mixed = rng.normal(size=(heads, width, width)) * 2.0 ** -np.arange(width)
    centres = rng.normal(size=(10, d_joint))
    codes = np.repeat(np.arange(10), 30)
    texts = centres[codes] + 0.7 * rng.normal(size=(300, d_joint))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    return mixed @ mixed.transpose(0, 2, 1), q, texts, codes


def test_turned_null_holds_for_heads_that_know_nothing_of_texts() -> None:
    rng = np.random.default_rng(3)
    sigma, q, texts, codes = head_case(rng, 60)
    basis = textspan(sigma, q, texts, 16)
    found = turned(sigma, q, texts, basis.picks, basis.explained, codes)
    assert (found.p_value < 0.05).mean() < 0.08
    q_value = false_discovery_control(found.p_value.ravel()).reshape(found.p_value.shape)
    assert (q_value < 0.05).any(axis=1).mean() <= 0.05
    np.testing.assert_allclose(found.share.mean(), found.expected.mean(), rtol=0.1)


def test_turned_null_is_the_literal_algorithm_on_every_rotation() -> None:
    rng = np.random.default_rng(6)
    sigma, q, texts, codes = head_case(rng, 1)
    basis = textspan(sigma, q, texts, 3)
    found = turned(sigma, q, texts, basis.picks, basis.explained, codes, draws=10, seed=4)
    directions, orders = _turns(10, 16, 4)
    assert directions.shape == (3, 16, 16) and orders.shape == (3, 4, 16)
    spectrum = np.linalg.eigvalsh(sigma[0])
    share = np.zeros((12, 10))
    for row, (a, b) in enumerate(np.ndindex(3, 4)):
        turn = directions[a][:, np.argsort(orders[a, b])]
        np.testing.assert_allclose(turn @ turn.T, np.eye(16), atol=1e-12)
        white = np.linalg.qr(rng.normal(size=(48, 16)) - 0.5)[0]
        white -= white.mean(axis=0)
        white = np.linalg.qr(white)[0] * 48**0.5
        pictures = white @ np.linalg.cholesky(turn * spectrum @ turn.T).T
        picks, removed = algorithm_1(pictures, texts @ q[0], 3)
        np.add.at(share[row], codes[picks], np.array(removed) / spectrum.sum())
    np.testing.assert_allclose(found.expected[0], share[:10].mean(axis=0), rtol=1e-4)


def test_turned_null_stops_where_the_texts_span_few_directions() -> None:
    rng = np.random.default_rng(5)
    sigma, q, texts, codes = head_case(rng, 3)
    # texts in a quarter of the head's directions: no more than their share can be removed
    few = texts @ np.linalg.qr(rng.normal(size=(40, 16)))[0]
    texts = few[:, :4] @ q[0][:, :4].T
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    sigma[:] = np.eye(16)
    q[:] = q[0]
    basis = textspan(sigma, q, texts, 16)
    assert ((basis.picks >= 0).sum(axis=1) == 4).all()
    np.testing.assert_allclose(basis.cumulative[:, -1], 0.25)
    found = turned(sigma, q, texts, basis.picks, basis.explained, codes)
    np.testing.assert_allclose(found.expected.sum(axis=1), 0.25, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_more_draws_go_to_heads_that_they_could_decide(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    sigma, q, texts, codes = head_case(rng, 30)
    for head in range(10):
        along = texts[head] @ q[head]
        sigma[head] += np.outer(along, along) * 10.0 ** (head - 4)
    basis = textspan(sigma, q, texts, 8)

    def asked() -> Turned:
        return turned(sigma, q, texts, basis.picks, basis.explained, codes)

    staged = asked()
    monkeypatch.setattr(rotation_null, "_AT_FIRST", 128)
    every = asked()
    monkeypatch.setattr(rotation_null, "_AT_FIRST", 32)
    monkeypatch.setattr(rotation_null, "_undecided", lambda *known: False)
    few = asked()
    as_every = (staged.p_value == every.p_value).all(axis=1)
    as_few = (staged.p_value == few.p_value).all(axis=1)
    assert (as_every | as_few).all() and as_every.any() and as_few.any()
    # whoever could be called, by many draws or by few, has had all of them or is certain
    for p_value in (every.p_value, few.p_value):
        called = (p_value < 1e-3) & (staged.share > 0)
        assert (as_every[:, None] | (staged.p_value < 1e-8))[called].all()


def test_the_turned_tail_is_that_of_a_beta_distribution_of_the_same_moments() -> None:
    rng = np.random.default_rng(9)
    null = rng.beta([2, 0.5, 9], [30, 8, 3], size=(128, 3))
    mean, variance = null.mean(axis=0), null.var(axis=0)
    size = mean * (1 - mean) / variance - 1
    for share in (np.full(3, 0.3), np.array([0.9, 1.0, 0.0])):
        expected = beta.sf(np.minimum(share, 1 - 1e-9), mean * size, (1 - mean) * size)
        np.testing.assert_allclose(_beta_tail(share, null), expected, rtol=1e-12)


def test_a_chi2_tail_is_one_below_zero() -> None:
    value = np.linspace(-20, 60, 41)
    degrees = np.full(41, 5.0)
    np.testing.assert_allclose(
        cumulant_tail(value, degrees, degrees, degrees), chi2.sf(value, 5), rtol=1e-9
    )


def test_turned_null_sees_one_dominant_pick_along_a_text() -> None:
    rng = np.random.default_rng(4)
    sigma, q, texts, codes = head_case(rng, 2)
    along = texts[95] @ q[0]
    sigma[0] = np.outer(along, along) * 50 + 0.05 * np.eye(16)
    basis = textspan(sigma, q, texts, 16)
    found = turned(sigma, q, texts, basis.picks, basis.explained, codes)
    assert found.p_value[0].argmin() == codes[95]
    assert found.p_value[0].min() < 1e-4


def attribute_case(seed: int, images: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, images)
    noise = rng.normal(size=(3, images, 6)) * np.array([3, 2, 1, 1, 0.5, 0.1])
    effect = np.array([0.0, 0.2, 3.0])[:, None, None] * rng.normal(size=(3, 4, 6))
    return noise + effect[:, codes], codes, np.stack([np.cov(v.T, bias=True) for v in noise])


def test_r2_equals_one_minus_within_over_total() -> None:
    vectors, codes, covariance = attribute_case(0)
    found = explained(group_sums(vectors, codes, 4), covariance)
    for head, v in enumerate(vectors):
        within = sum(((v[codes == g] - v[codes == g].mean(0)) ** 2).sum() for g in range(4))
        total = ((v - v.mean(0)) ** 2).sum()
        np.testing.assert_allclose(found.r2[head], 1 - within / total, rtol=1e-9)


def test_group_sums_add_over_shards_and_leave_out_missing_values() -> None:
    vectors, codes, covariance = attribute_case(1)
    codes[::7] = -1
    whole = group_sums(vectors, codes, 4)
    parts = group_sums(vectors[:, :100], codes[:100], 4) + group_sums(
        vectors[:, 100:], codes[100:], 4
    )
    np.testing.assert_allclose(parts.total, whole.total)
    there = codes >= 0
    a = explained(whole, covariance)
    b = explained(group_sums(vectors[:, there], codes[there], 4), covariance)
    np.testing.assert_allclose(a.r2, b.r2)


def test_attribute_p_values_equal_real_permutations() -> None:
    vectors, codes, _ = attribute_case(2, images=300)
    covariance = np.stack([np.cov(v.T, bias=True) for v in vectors])
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(codes) for _ in range(800)]
    found = [explained(group_sums(vectors, c, 4), covariance) for c in shuffled]
    for head in range(3):
        p = np.array([f.p_value[head] for f in found])
        assert kstest(p, "uniform").pvalue > 1e-3
        assert (p < 0.01).mean() < 0.025
    truth = explained(group_sums(vectors, codes, 4), covariance)
    assert truth.p_value[2] < 1e-10


def test_columns_become_groups() -> None:
    found = encode_columns(
        {
            "colour": ["red", "blue", None, "red"] * 30,
            "name": [f"picture {i}" for i in range(120)],
            "size": [float(i) for i in range(120)],
            "same": ["x"] * 120,
            "flag": [True, False, True, ""] * 30,
        }
    )
    assert sorted(found) == ["colour", "flag", "size"]
    assert found["colour"][0] == ["blue", "red"]
    assert found["colour"][1][:4].tolist() == [1, 0, -1, 1]
    assert np.bincount(found["size"][1]).tolist() == [12] * 10
