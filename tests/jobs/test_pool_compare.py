"""Comparing pools: projection of every head onto its texts, against a literal computation."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jobs.commands.pool.compare import PoolCompareConfig, run
from jobs.commands.pool.import_ import PoolImportConfig
from jobs.commands.pool.import_ import run as run_import
from jobs.commands.pool.random import PoolRandomConfig
from jobs.commands.pool.random import run as run_random
from pipeline.heads.textspan import textspan
from pipeline.texts.pool_compare import PCA, kept_variance, lost_logits, principal, spans
from schemas.errors import UsageError


def case(seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(5, 24, 8)))[0]
    vectors = rng.normal(size=(5, 90, 8)) @ rng.normal(size=(5, 8, 8)) + 1
    texts = rng.normal(size=(50, 24))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    covariance = np.stack([np.cov(v.T, bias=True) for v in vectors])
    return q, vectors, texts, covariance, rng.normal(size=(3, 24))


def test_lost_logits_equal_the_literal_projection_of_every_head() -> None:
    q, vectors, texts, covariance, weights = case()
    u = np.stack(spans(textspan(covariance, q, texts, 8)))
    means = vectors.mean(axis=1)
    lost = lost_logits(vectors, means, u, weights @ q, [2, 5, 8])
    for i, m in enumerate((2, 5, 8)):
        expected = np.zeros((90, 3))
        for head in range(5):
            centred = vectors[head] - means[head]
            projected = centred @ u[head, :m].T @ u[head, :m]
            expected += (centred - projected) @ q[head].T @ weights.T
        np.testing.assert_allclose(lost[i], expected, atol=1e-3)
    np.testing.assert_allclose(lost[2], 0, atol=1e-3)


def test_kept_variance_equals_textspans_and_stays_under_the_ceiling() -> None:
    q, _, texts, covariance, _ = case(1)
    basis = textspan(covariance, q, texts, 8)
    kept = kept_variance(covariance, spans(basis), range(1, 9))
    total = np.trace(covariance, axis1=1, axis2=2)
    expected = (basis.cumulative * total[:, None]).sum(axis=0) / total.sum()
    np.testing.assert_allclose(kept, expected, rtol=1e-9)
    ceiling = kept_variance(covariance, principal(covariance, 8), range(1, 9))
    assert (np.array(kept) <= np.array(ceiling) + 1e-12).all()
    assert kept[-1] == pytest.approx(1)


def test_pools_of_a_scan_are_compared_and_drawn(scanned: Path, tmp_path: Path) -> None:
    root = tmp_path / "warehouse"
    shutil.copytree(scanned, root, symlinks=True)
    lines = tmp_path / "few.txt"
    lines.write_text("\n".join(f"a {c} thing" for c in ("red", "blue", "green", "striped")))
    run_import(PoolImportConfig(file=lines, warehouse=root))
    run_random(PoolRandomConfig(warehouse=root, count=200))
    config = PoolCompareConfig(
        pools=("few", "random"),
        warehouse=root,
        out=tmp_path / "plot.svg",
        m="2,8",  # type: ignore[arg-type]
        label_column="background",
    )
    done = run(config)
    found = {(p.pool, p.m): p for p in done.points}
    assert set(found) == {(name, m) for name in ("few", "random", PCA) for m in (2, 8)}
    assert found["few", 2].explained <= found[PCA, 2].explained
    assert found[PCA, 8].explained == pytest.approx(1)
    assert found[PCA, 8].accuracy == pytest.approx(done.baseline, abs=0.01)
    assert done.plot.read_text().startswith("<?xml")
    assert done.images == 240
    with pytest.raises(UsageError, match="ends in"):
        run(config.model_copy(update={"out": tmp_path / "plot.txt"}))
