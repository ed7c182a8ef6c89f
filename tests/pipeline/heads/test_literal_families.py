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
from schemas.errors import UnsupportedModel
from tests.literal_tower import frozen
from tests.timm_towers import FAMILIES, pictures, small_visual

NAMES = tuple(name for name in FAMILIES if name != "CLIP ResNet")
MAP = tuple(name for name in NAMES if "map" in name or name.startswith("PE"))


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
    if block.__class__.__name__ in ("ResPostBlock", "EvaBlockPostNorm", "ResPostRelPosBlock"):
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


def behind(pool: Any, part: Tensor, seen: Seen) -> Tensor:
    """Return a part of what a pool's heads write, on through its MLP with its gates as they are."""
    total, x = seen.given[pool.norm][:, 0], seen.given[pool.mlp.act][:, 0]
    gate = pool.mlp.act(x) / x
    hidden = frozen(pool.norm, part, total) @ pool.mlp.fc1.weight.T * gate
    return part + hidden @ pool.mlp.fc2.weight.T


def read(visual: Any, part: Tensor, seen: Seen, gated: bool = False) -> Tensor:
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
        t = behind(pool, t, seen) if gated else t
    else:
        first = 0 if getattr(trunk, "pool_include_prefix", False) else prefix
        t = frozen(trunk.norm, part[:, first:], whole[:, first:]).mean(dim=1)
    return to_joint(visual, t, seen)


def to_joint(visual: Any, t: Tensor, seen: Seen) -> Tensor:
    """Return a part of what is pooled after the last norm and the projections, no biases."""
    last = visual.trunk.fc_norm
    t = frozen(last, t, seen.given[last]) if last in seen.given else t
    for module in (visual.trunk.head, *visual.head):
        if isinstance(module, nn.Linear):
            t = t @ module.weight.T
    return t


def literal(visual: Any, seen: Seen, gated: bool = False) -> dict[tuple[int, int], Tensor]:
    """Return what each head adds to the embedding before it is normalised."""
    blocks = visual.trunk.blocks
    found = {
        (layer, head): read(visual, written(block, head, seen), seen, gated)
        for layer, block in enumerate(blocks)
        for head in range(block.attn.num_heads)
    }
    pool = getattr(visual.trunk, "attn_pool", None)
    if pool is None:
        return found
    y, width = seen.given[pool], pool.head_dim * pool.num_heads
    bias = pool.kv.bias[width:].reshape(pool.num_heads, -1)
    for p, own in enumerate(pool_heads(pool, y, y)):
        at = slice(p * pool.head_dim, (p + 1) * pool.head_dim)
        own = own + bias[p] @ pool.proj.weight[:, at].T
        own = behind(pool, own, seen) if gated else own
        found[len(blocks), p] = to_joint(visual, own, seen)
    return found


def compare(name: str, gated: bool) -> None:
    """Compare every head's Q·vector with the literal sum, exact and as it is stored."""
    visual = small_visual(name)
    images = pictures(visual, 2)
    seen = Seen(visual, images)
    norm = seen.own.norm(dim=-1, keepdim=True)
    tower = tower_of(visual)
    every = tuple(range(tower.n_layers + (tower.pool_layer is not None)))
    frames = head_frames(tower, every, gated=gated)
    found = Decomposer(tower, frames, gated=gated)(images)
    terms = literal(visual, seen, gated)
    assert {layer for layer, _ in terms} == set(every)
    for (layer, head), c in terms.items():
        q = torch.from_numpy(frames.of(layer)[head].copy())
        vector = found.vectors[layer][:, head]
        torch.testing.assert_close(vector @ q.T, c / norm, atol=1e-10, rtol=0)
        stored = vector.half().double() @ q.T - c / norm
        assert (stored.norm(dim=-1) <= 2e-3 * (c / norm).norm(dim=-1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_q_vector_equals_the_literal_sum_of_each_head(name: str) -> None:
    compare(name, gated=False)


@pytest.mark.parametrize("name", MAP)
def test_gated_heads_are_the_literal_sum_through_the_mlp_with_its_gates(name: str) -> None:
    compare(name, gated=True)


@pytest.mark.parametrize("name", MAP)
def test_gated_parts_sum_to_the_towers_own_output(name: str) -> None:
    visual = small_visual(name, 1)
    images, tower = pictures(visual), tower_of(visual)
    pool, every = tower.n_layers, tuple(range(tower.n_layers + 1))
    for layers in (every, (pool,), (0,)):
        frames = head_frames(tower, layers, gated=True)
        assert Decomposer(tower, frames, gated=True).check(images) < 1e-10
    found = Decomposer(tower, head_frames(tower, every, gated=True), gated=True)(images)
    # what is left to the MLP itself is its biases alone: the constant of the gated map
    seen, own = Seen(visual, images), visual.trunk.attn_pool
    x = seen.given[own.mlp.act][:, 0]
    first = own.mlp.fc1.weight @ own.norm.bias + own.mlp.fc1.bias
    left = first * own.mlp.act(x) / x @ own.mlp.fc2.weight.T + own.mlp.fc2.bias
    norm = seen.own.norm(dim=-1, keepdim=True)
    expected = to_joint(visual, left, seen) / norm
    torch.testing.assert_close(found.others["pool_mlp", pool], expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", ["timm token", "timm average, norm before", "CLIP ResNet"])
def test_gating_is_refused_where_no_mlp_is_behind_a_pool(name: str) -> None:
    tower = tower_of(small_visual(name))
    with pytest.raises(UnsupportedModel, match="has no MLP behind an attention pool"):
        Decomposer(tower, head_frames(tower, (0,)), gated=True)


def test_gating_is_refused_where_the_activation_is_no_gate() -> None:
    visual = small_visual("timm map (SigLIP)")
    visual.trunk.attn_pool.mlp.act = nn.Sigmoid()
    tower = tower_of(visual)
    with pytest.raises(UnsupportedModel, match="is not 0 at 0"):
        Decomposer(tower, head_frames(tower, (2,), gated=True), gated=True)


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
