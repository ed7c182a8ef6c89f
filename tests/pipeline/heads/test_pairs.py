"""Invariant 11: the head × head table of text and image sums to the cosine."""

import numpy as np
import pytest
import torch

from pipeline.heads.components import REST, in_joint_space, stored_in_joint_space
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.heads.pairs import pair_moments
from pipeline.towers.registry import text_tower_of, tower_of
from tests.text_towers import small_text_model, token_ids
from tests.towers import pixels

N = 7


def decomposed(name: str, layers: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return stored components of pictures, components of texts, and the true cosines."""
    model, ids = small_text_model(name), token_ids(N)
    images = pixels(model, N)
    picture = Decomposer(tower_of(model.visual), head_frames(tower_of(model.visual), layers))
    found = picture(images)
    vectors = {
        ("head", layer, head): own.half().numpy()
        for layer, of in found.vectors.items()
        for head, own in enumerate(of.transpose(0, 1))
    }
    embedding = found.embedding.float().numpy()
    stored, norm = (found.sigma.float().numpy(), found.norm.float().numpy())
    keys, parts = stored_in_joint_space(picture, vectors, embedding, stored, norm)
    assert keys[-1] == REST and len(keys) == parts.shape[1]
    np.testing.assert_allclose(parts.sum(axis=1), embedding, atol=1e-15)
    # what follows from σ and the norm is what the pass itself has
    at = keys.index(("const", -1, -1))
    own = picture.const / found.norm[:, None]
    torch.testing.assert_close(torch.from_numpy(parts[:, at]), own, atol=1e-7, rtol=0)
    text = Decomposer(text_tower_of(model), head_frames(text_tower_of(model), (0, 1, 2)))
    named, rows = in_joint_space(text, text(ids))
    assert float(np.abs(rows[:, named.index(REST)]).max()) < 1e-12
    encoded = torch.nn.functional.normalize(model.encode_text(ids), dim=-1).numpy()
    return parts, rows, (embedding.astype(np.float64) * encoded).sum(axis=1)


@pytest.mark.parametrize("name", ["CLIP", "own model, SigLIP", "CoCa, custom block"])
@pytest.mark.parametrize("layers", [(0, 1, 2), (2,)])
def test_means_sum_to_the_mean_cosine_and_shares_to_one(name: str, layers: tuple[int, ...]) -> None:
    parts, rows, cosines = decomposed(name, layers)
    found = pair_moments(parts, rows)
    literal = np.einsum("iad,ibd->iab", parts, rows)
    np.testing.assert_allclose(literal.sum(axis=(1, 2)), cosines, atol=1e-10)
    np.testing.assert_allclose(found.mean, literal.mean(axis=0), atol=1e-12)
    centred = cosines - cosines.mean()
    shares = np.einsum("i,iab->ab", centred, literal) / (centred @ centred)
    np.testing.assert_allclose(found.shares, shares, atol=1e-9)
    assert found.mean.sum() == pytest.approx(cosines.mean(), abs=1e-10)
    assert found.shares.sum() == pytest.approx(1, abs=1e-10)
    halves = pair_moments(parts[:3], rows[:3]).merge(pair_moments(parts[3:], rows[3:]))
    np.testing.assert_allclose(halves.shares, found.shares, atol=1e-10)
    np.testing.assert_allclose(halves.mean, found.mean, atol=1e-12)


def test_a_cosine_that_does_not_vary_has_no_shares() -> None:
    one = np.ones((1, 2, 3))
    assert np.isnan(pair_moments(one, one).shares).all()
