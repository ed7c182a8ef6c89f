"""Invariant 3: moments merged in any order and sharding are the moments of all pictures."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.heads import moments as mo
from pipeline.heads.merging import merge_tables, stacks


def data(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(12, 5)))[0]
    vectors = (rng.normal(size=(n, 5)) * 3 + 7).astype(np.float16)
    embedding = rng.normal(size=(n, 12)).astype(np.float32)
    return vectors, embedding, q


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    seed=st.integers(0, 99),
    order=st.randoms(use_true_random=False),
)
def test_merging_any_shards_in_any_order_is_the_whole(n, cuts, seed, order) -> None:
    vectors, embedding, q = data(n, seed)
    edges = [0, *sorted(min(c, n) for c in cuts), n]
    parts = [mo.head_moments(vectors[a:b], embedding[a:b], q) for a, b in itertools.pairwise(edges)]
    order.shuffle(parts)
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    v = vectors.astype(np.float64)
    projected = (embedding @ q.astype(np.float32)).astype(np.float64)
    centred = v - v.mean(0)
    assert merged.n == n
    np.testing.assert_allclose(merged.mean, v.mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.m2, centred.T @ centred, atol=1e-9)
    np.testing.assert_allclose(merged.embedding_mean, projected.mean(0), atol=1e-6)
    expected = np.vdot(centred, projected - projected.mean(0))
    np.testing.assert_allclose(merged.comoment, expected, atol=1e-4)


def test_shares_of_all_components_sum_to_one() -> None:
    rng = np.random.default_rng(3)
    parts = rng.normal(size=(4, 50, 12))
    scale, direction = rng.uniform(1, 2, size=50), rng.normal(size=12)
    embedding = (parts.sum(0) + scale[:, None] * direction).astype(np.float32)
    whole = mo.joint_moments(embedding, embedding)
    shares = [mo.share(mo.joint_moments(p, embedding), whole) for p in parts]
    shares.append(mo.share(mo.direction_moments(scale, direction, embedding), whole))
    np.testing.assert_allclose(sum(shares), 1, atol=1e-6)


def test_a_direction_of_varying_length_equals_its_vectors() -> None:
    rng = np.random.default_rng(4)
    scale, direction = rng.uniform(1, 2, size=30), rng.normal(size=12)
    embedding = rng.normal(size=(30, 12)).astype(np.float32)
    short = mo.direction_moments(scale, direction, embedding)
    literal = mo.joint_moments(np.outer(scale, direction), embedding)
    np.testing.assert_allclose(short.mean, literal.mean)
    np.testing.assert_allclose(short.m2, literal.m2)
    np.testing.assert_allclose(short.comoment, literal.comoment)


def test_moments_survive_their_table_and_tables_merge() -> None:
    vectors, embedding, q = data(20)
    frames = {3: np.stack([q, q])}
    halves = [
        mo.to_table(mo.shard_moments({3: np.stack([v, -v])}, e, {1: e}, frames))
        for v, e in zip(np.split(vectors, 2), np.split(embedding, 2), strict=True)
    ]
    merged = mo.from_table(merge_tables(halves))
    whole = mo.shard_moments({3: np.stack([vectors, -vectors])}, embedding, {1: embedding}, frames)
    assert set(merged) == {("head", 3, 0), ("head", 3, 1), ("mlp", 1, -1), ("embedding", -1, -1)}
    for key, value in whole.items():
        np.testing.assert_allclose(merged[key].m2, value.m2, rtol=1e-9)
        np.testing.assert_allclose(merged[key].mean, value.mean, rtol=1e-12)
        np.testing.assert_allclose(merged[key].comoment, value.comoment, atol=1e-5)
    assert mo.head_keys(merged) == [(3, 0), (3, 1)]


def test_effective_rank_counts_equal_directions() -> None:
    np.testing.assert_allclose(mo.effective_rank(np.diag([2.0, 2.0, 0, 0])), 2)
    assert mo.effective_rank(np.zeros((3, 3))) == 0


def test_stacks_merge_as_their_components_do_whatever_each_table_lacks() -> None:
    """Tables of copied shards lack what is not stored; each component is merged by itself."""
    rng = np.random.default_rng(8)
    keys = [("head", 0, 0), ("head", 0, 1), ("head", 3, 0), ("mlp", 1, -1), ("embedding", -1, -1)]

    def part(n: int, present: list[mo.Key]) -> dict[mo.Key, mo.Moments]:
        e = rng.normal(size=(n, 12)).astype(np.float32)
        found = {}
        for key in present:
            width = {"head": 5 - key[1]}.get(key[0], 12)
            q = np.linalg.qr(rng.normal(size=(12, width)))[0]
            v = rng.normal(size=(n, width)).astype(np.float16)
            full = key[0] == "head"
            found[key] = mo.head_moments(v, e, q) if full else mo.joint_moments(e + 1, e)
        return found

    parts = [part(7, keys), part(0, keys[:2]), part(9, keys[1:]), part(4, keys[::2])]
    merged = mo.from_table(merge_tables(mo.to_table(p) for p in parts))
    assert list(merged) == sorted(keys)
    for key in keys:
        there = [p[key] for p in parts if key in p]
        expected = there[0]
        for other in there[1:]:
            expected = expected.merge(other)
        got = merged[key]
        assert got.n == expected.n
        for name in ("mean", "m2", "embedding_mean", "comoment"):
            np.testing.assert_allclose(getattr(got, name), getattr(expected, name), atol=1e-12)
    assert len(stacks(mo.to_table(parts[0]))) == 3
    assert merge_tables([]).num_rows == 0
