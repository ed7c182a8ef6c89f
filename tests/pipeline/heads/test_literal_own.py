"""Invariant 2 for open_clip's own ViT: every option of its custom block, and CoCa's pooler.

Nothing here knows `Block` or `Readout`: each head's outputs are made of the weights, and followed
to the embedding head by head, through the pooler token by token.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.towers.tower import Tower
from tests.literal_tower import LiteralTower, frozen
from tests.pipeline.towers.test_families import OWN, own_tower

Key = tuple[int, int]


def pooled(pooler: Any, z: Tensor) -> list[Any]:
    """Return of each head of CoCa's pooler: what a part of the tokens becomes, and its own bias."""
    attn, width = pooler.attn, pooler.attn.embed_dim
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    if attn.in_proj_weight is None:
        w_q, w_k, w_v = (getattr(attn, name) for name in names)
    else:
        w_q, w_k, w_v = (attn.in_proj_weight[p * width : (p + 1) * width] for p in range(3))
    b_q, b_k, b_v = (attn.in_proj_bias[p * width : (p + 1) * width] for p in range(3))
    y, query, d = pooler.ln_k(z), pooler.ln_q(pooler.query[0]), width // attn.num_heads
    heads = []
    for p in range(attn.num_heads):
        at = slice(p * d, (p + 1) * d)
        scores = (y @ w_k[at].T + b_k[at]) @ (w_q[at] @ query + b_q[at]) / d**0.5
        alpha, out = scores.softmax(-1), attn.out_proj.weight[:, at].T

        def one(part: Tensor, alpha: Tensor = alpha, at: slice = at, out: Tensor = out) -> Tensor:
            total = torch.zeros(len(part), d, dtype=part.dtype)
            for i in range(part.shape[1]):
                total += alpha[:, i, None] * (part[:, i] @ w_v[at].T)
            return total @ out

        heads.append((one, b_v[at] @ out))
    return heads


def expected(visual: Any, images: Tensor) -> dict[Key, Tensor]:
    """Return what each head adds to the unit-norm embedding."""
    tower = LiteralTower(visual, images)
    parts = {
        (index, head): tower.written(index, head, layer.o[:, head])
        for index, layer in enumerate(tower.layers)
        for head in range(layer.o.shape[1])
    }
    pooler, z, norm = visual.attn_pool, tower.z, tower.norm[:, None]
    if pooler is None:
        return {key: tower.read(part) for key, part in parts.items()}
    heads, y = pooled(pooler, z), pooler.ln_k(z)
    ends = {
        key: sum(one(frozen(pooler.ln_k, part, z)) for one, _ in heads)
        for key, part in parts.items()
    }
    ends |= {(len(tower.layers), p): one(y) + bias for p, (one, bias) in enumerate(heads)}
    total = pooler(z)[:, 0]
    return {k: frozen(visual.ln_post, end, total) @ visual.proj / norm for k, end in ends.items()}


def compare(tower: Tower, images: Tensor) -> None:
    """Compare every head's Q·vector with the literal sum, exact and as it is stored."""
    layers = tuple(range(tower.n_layers + (tower.pool_layer is not None)))
    frames = head_frames(tower, layers)
    found = Decomposer(tower, frames)(images)
    terms = expected(tower.visual, images)
    assert {layer for layer, _ in terms} == set(layers)
    for (layer, head), c in terms.items():
        q = torch.from_numpy(frames.of(layer)[head].copy())
        vector = found.vectors[layer][:, head]
        torch.testing.assert_close(vector @ q.T, c, atol=1e-10, rtol=0)
        stored = vector.half().double() @ q.T - c
        assert (stored.norm(dim=-1) <= 2e-3 * c.norm(dim=-1)).all()


@pytest.mark.parametrize("name", OWN)
def test_q_vector_equals_the_literal_sum_of_each_head(name: str) -> None:
    compare(*own_tower(name))
