"""Invariants 1, 2 and 10 for texts: parts sum to `encode_text`; Q·vector is the literal sum."""

import pytest
import torch
from open_clip.model import CustomTextCLIP
from torch import nn
from torch.nn import functional as F

from pipeline.heads.by_token import token_vectors
from pipeline.heads.decompose import TOLERANCE, Decomposer
from pipeline.heads.frames import head_frames
from pipeline.towers.models import load_model
from pipeline.towers.registry import text_tower_of
from pipeline.towers.text_tower import read_first
from schemas.errors import UnsupportedModel
from tests.text_towers import TEXTS, literal, small_text_model, token_ids


def encoded(model: object, ids: torch.Tensor) -> torch.Tensor:
    """Return `encode_text`, which CoCa normalises and others do not."""
    return F.normalize(model.encode_text(ids), dim=-1)


@pytest.mark.parametrize("name", TEXTS)
def test_parts_sum_to_encode_text(name: str) -> None:
    model, ids = small_text_model(name, seed=1), token_ids(7)
    tower = text_tower_of(model)
    own = encoded(model, ids)
    torch.testing.assert_close(F.normalize(tower.encode(ids), dim=-1), own, atol=1e-10, rtol=0)
    for layers in ((1,), (2,)):
        decomposer = Decomposer(tower, head_frames(tower, layers))
        assert decomposer.check(ids) < 1e-10
    found = Decomposer(tower, head_frames(tower, (0, 1, 2)))
    torch.testing.assert_close(found.sum_parts(found(ids)), own, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", TEXTS)
def test_q_vector_equals_the_literal_sum_of_each_head_and_token(name: str) -> None:
    model, ids = small_text_model(name), token_ids()
    tower = text_tower_of(model)
    terms = literal(model, ids)
    whole = sum(t for key, t in terms.items() if key[0] != "token")
    norm = whole.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(whole / norm, encoded(model, ids), atol=1e-10, rtol=0)
    frames = head_frames(tower, (0, 1, 2))
    decomposer = Decomposer(tower, frames)
    found, split = decomposer(ids), token_vectors(decomposer, ids)
    for layer in range(3):
        tokens = split[layer].shape[2]
        order = read_first(tower.place(ids), tokens)
        for head in range(3):
            q = torch.from_numpy(frames.q[layer, head])
            c = found.vectors[layer][:, head] @ q.T
            expected = terms["head", layer, head] / norm
            torch.testing.assert_close(c, expected, atol=1e-10, rtol=0)
            stored = found.vectors[layer][:, head].half().double() @ q.T
            assert (stored - expected).norm() <= 2e-3 * expected.norm()
            each = split[layer][:, head] @ q.T
            for place in range(tokens):
                at = (order == place).int().argmax(dim=1)
                one = each[torch.arange(len(ids)), at]
                expected = terms["token", layer, head, place] / norm
                torch.testing.assert_close(one, expected, atol=1e-10, rtol=0)
        mlp = terms["mlp", layer] / norm
        torch.testing.assert_close(found.mlp[:, layer], mlp, atol=1e-10, rtol=0)
    torch.testing.assert_close(found.init, terms["init"] / norm, atol=1e-10, rtol=0)


@pytest.mark.parametrize("precision", ["bf16"])
def test_a_real_architecture_sums_within_its_precision(precision: str) -> None:
    loaded = load_model("ViT-S-32-alt", "none", precision)
    ids = loaded.tokenizer(["a red duck on the water", "two green cats"])
    tower = loaded.text_tower
    assert Decomposer(tower, head_frames(tower, (0, 9))).check(ids) < TOLERANCE[loaded.dtype]


class HFTextEncoder(nn.Module):
    """A text tower of another library."""


def test_texts_of_another_library_are_refused_by_name() -> None:
    model = CustomTextCLIP.__new__(CustomTextCLIP)
    nn.Module.__init__(model)
    model.text = HFTextEncoder()
    with pytest.raises(UnsupportedModel, match="HFTextEncoder") as caught:
        text_tower_of(model, "mine")
    assert str(caught.value).startswith("mine: ") and "\n" not in str(caught.value)


def test_a_text_pool_without_an_embedding_is_refused() -> None:
    model = small_text_model("own model")
    model.text.pool_type = "none"
    with pytest.raises(UnsupportedModel, match="'none' returns no single embedding of a text"):
        text_tower_of(model)
