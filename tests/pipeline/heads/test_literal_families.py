"""Invariant 2 for the other families: Q·vector is the literal sum, from what hooks see of timm's.

Nothing here knows `Block` or `Readout`: heads' outputs are taken where timm's modules pass them on,
and followed by the formulas of the direct path, head by head and token by token.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.towers.registry import tower_of
from tests.timm_towers import pictures, small_visual

NAMES = (
    "timm token, LayerScale, registers",
    "timm average, norm after (ViTamin)",
    "timm average, norm before",
    "timm map (SigLIP)",
    "timm map, norm and projection after",
    "timm qk-norm, inner norm",
    "timm norm after each part, map",
    "EVA01",
    "EVA02, inner norm, rotation",
    "EVA02-E, norm after",
    "PE",
)


def frozen(norm: nn.Module, part: Tensor, whole: Tensor) -> Tensor:
    """Return a part through a LayerNorm whose scale is that of the whole; or as it is."""
    if not isinstance(norm, nn.LayerNorm):
        return part
    sigma = (whole.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt()
    return (part - part.mean(dim=-1, keepdim=True)) / sigma * norm.weight


class Seen:
    """What modules were given in one forward pass."""

    def __init__(self, visual: nn.Module, images: Tensor) -> None:
        self.given: dict[nn.Module, Tensor] = {}
        hooks = [
            module.register_forward_pre_hook(lambda m, args: self.given.update({m: args[0]}))
            for module in visual.modules()
        ]
        self.own = visual(images)
        for hook in hooks:
            hook.remove()


def written(block: Any, head: int, seen: Seen) -> Tensor:
    """Return what a head adds to each token of the residual stream."""
    attn, d = block.attn, block.attn.head_dim
    inner = getattr(attn, "norm", nn.Identity())
    whole = seen.given[inner if isinstance(inner, nn.LayerNorm) else attn.proj]
    part = torch.zeros_like(whole)
    part[..., head * d : (head + 1) * d] = whole[..., head * d : (head + 1) * d]
    part = frozen(inner, part, whole) @ attn.proj.weight.T
    if block.__class__.__name__ in ("ResPostBlock", "EvaBlockPostNorm"):
        part = frozen(block.norm1, part, seen.given[block.norm1])
    for name in ("ls1", "gamma_1"):
        gain = getattr(block, name, None)
        gain = getattr(gain, "gamma", gain)
        if isinstance(gain, Tensor):
            part = part * gain
    return part


def pool_heads(pool: Any, y: Tensor, part: Tensor) -> list[Tensor]:
    """Return what each head of a pool makes of a part of the tokens, token by token."""
    d, width = pool.head_dim, pool.head_dim * pool.num_heads
    q, k = pool.q(pool.latent[0, 0]), y @ pool.kv.weight[:width].T
    k = k if pool.kv.bias is None else k + pool.kv.bias[:width]
    found = []
    for p in range(pool.num_heads):
        at = slice(p * d, (p + 1) * d)
        scores = pool.k_norm(k[..., at]) @ pool.q_norm(q[at]) / d**0.5
        alpha = scores.softmax(dim=-1)
        total = torch.zeros(len(y), d, dtype=y.dtype)
        for i in range(y.shape[1]):
            total += alpha[:, i, None] * (part[:, i] @ pool.kv.weight[width:][at].T)
        found.append(total @ pool.proj.weight[:, at].T)
    return found


def read(visual: Any, part: Tensor, seen: Seen) -> Tensor:
    """Return what a part of the residual stream adds to the embedding."""
    trunk = visual.trunk
    whole = seen.given[trunk.norm]
    pool = getattr(trunk, "attn_pool", None)
    prefix = trunk.num_prefix_tokens
    if trunk.global_pool == "token":
        t = frozen(trunk.norm, part[:, 0], whole[:, 0])
    elif pool is not None:
        y = seen.given[pool]
        first = part.shape[1] - y.shape[1]
        x = frozen(trunk.norm, part[:, first:], whole[:, first:])
        t = sum(pool_heads(pool, y, x))
    else:
        t = frozen(trunk.norm, part[:, prefix:], whole[:, prefix:]).mean(dim=1)
    if trunk.fc_norm in seen.given:
        t = frozen(trunk.fc_norm, t, seen.given[trunk.fc_norm])
    return through_heads(visual, t)


def through_heads(visual: Any, t: Tensor) -> Tensor:
    """Return a vector after the projections, without their biases."""
    for module in (visual.trunk.head, *visual.head):
        if isinstance(module, nn.Linear):
            t = t @ module.weight.T
    return t


@pytest.mark.parametrize("name", NAMES)
def test_q_vector_equals_the_literal_sum_of_each_head(name: str) -> None:
    visual = small_visual(name)
    images = pictures(visual, 2)
    seen = Seen(visual, images)
    norm = seen.own.norm(dim=-1, keepdim=True)
    tower = tower_of(visual)
    every = range(tower.n_layers + (tower.pool_layer is not None))
    frames = head_frames(tower, tuple(every))
    found = Decomposer(tower, frames)(images)
    expected = {
        (layer, head): read(visual, written(block, head, seen), seen)
        for layer, block in enumerate(visual.trunk.blocks)
        for head in range(block.attn.num_heads)
    }
    if tower.pool_layer is not None:
        pool = visual.trunk.attn_pool
        y, last = seen.given[pool], visual.trunk.fc_norm
        width = pool.head_dim * pool.num_heads
        bias = pool.kv.bias[width:].reshape(pool.num_heads, -1)
        for p, own in enumerate(pool_heads(pool, y, y)):
            at = slice(p * pool.head_dim, (p + 1) * pool.head_dim)
            own = own + bias[p] @ pool.proj.weight[:, at].T
            own = frozen(last, own, seen.given[last]) if last in seen.given else own
            expected[tower.pool_layer, p] = through_heads(visual, own)
    for (layer, head), c in expected.items():
        q = torch.from_numpy(frames.of(layer)[head].copy())
        vector = found.vectors[layer][:, head]
        torch.testing.assert_close(vector @ q.T, c / norm, atol=1e-10, rtol=0)
        stored = vector.half().double() @ q.T - c / norm
        assert (stored.norm(dim=-1) <= 2e-3 * (c / norm).norm(dim=-1)).all()


def test_the_heads_of_a_resnets_pool_are_the_literal_sum() -> None:
    visual = small_visual("CLIP ResNet")
    images = pictures(visual, 2)
    seen = Seen(visual, images)
    pool = visual.attnpool
    x = seen.given[pool].flatten(2).mT
    x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + pool.positional_embedding
    width, heads = pool.v_proj.in_features, pool.num_heads
    d = width // heads
    tower = tower_of(visual)
    frames = head_frames(tower, (0,))
    found = Decomposer(tower, frames)(images)
    for p in range(heads):
        at = slice(p * d, (p + 1) * d)
        q = x[:, :1] @ pool.q_proj.weight[at].T + pool.q_proj.bias[at]
        k = x @ pool.k_proj.weight[at].T + pool.k_proj.bias[at]
        v = x @ pool.v_proj.weight[at].T + pool.v_proj.bias[at]
        alpha = (q @ k.mT / d**0.5).softmax(dim=-1)[:, 0]
        total = sum(alpha[:, i, None] * v[:, i] for i in range(x.shape[1]))
        c = total @ pool.c_proj.weight[:, at].T / seen.own.norm(dim=-1, keepdim=True)
        own = found.vectors[0][:, p] @ torch.from_numpy(frames.of(0)[p]).T
        torch.testing.assert_close(own, c, atol=1e-10, rtol=0)
