"""Effects of heads against a literal run: o replaced in a plain forward, one head at a time."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.heads.decompose import Decomposer
from pipeline.heads.effects import (
    all_heads,
    attributed_effects,
    class_directions,
    direct_effects,
    passes,
    total_effects,
)
from pipeline.heads.frames import head_frames
from pipeline.heads.position_means import Layers, PositionSums, parts_of
from pipeline.towers.registry import tower_of
from pipeline.towers.tower import Tower
from tests.towers import SUPPORTED, pixels, small_clip

CUSTOM = {
    "custom": {"block_type": "custom"},
    "custom: LayerNorms and head scale": {
        "block_type": "custom",
        "scale_attn_inner": True,
        "scale_attn": True,
        "scale_heads": True,
    },
    "attentional pool": {"attentional_pool": True, "attn_pooler_heads": 2},
}
FAMILIES = {
    **{n: SUPPORTED[n] for n in ("plain", "layer scale", "eps")},
    "average": SUPPORTED["average before the last LayerNorm"],
    "average of normalised": {"pool_type": "avg", "final_ln_after_pool": False},
    "class token, LayerNorm after pool": SUPPORTED["class token, LayerNorm after pool"],
    **CUSTOM,
}


def summed(tower: Tower, images: Tensor) -> PositionSums:
    found = PositionSums()
    layers = range(tower.n_layers)
    decomposer = Decomposer(tower, head_frames(tower, tuple(layers)))
    for batch in images.split(2):
        found.add(parts_of(decomposer, batch, Layers(layers))[0])
    return found


def literal(
    tower: Tower, images: Tensor, means: list[Tensor], layer: int, head: int, tokens: slice
) -> Tensor:
    """Return ê of a plain forward in which one head's output is what it is on average."""
    x = tower.embed(images)
    for index, block in enumerate(tower.blocks):
        q, k, v = block.project(block.norm(x), None)
        scores = q @ k.mT / block.d_head**0.5
        o = scores.softmax(dim=-1) @ v
        if index == layer:
            for i in range(o.shape[2])[tokens]:
                o[:, head, i] = means[layer][head, i]
        x = x + block.write(o).update
        x = x + block.mlp(x)
    return F.normalize(tower.readout.embed(x), dim=-1)


@pytest.mark.parametrize("options", FAMILIES.values(), ids=FAMILIES.keys())
def test_total_and_class_only_equal_a_literal_run(options: dict[str, object]) -> None:
    clip = small_clip(**options)
    tower, images = tower_of(clip.visual), pixels(clip, n=3)
    everything = []
    x = tower.embed(images)
    for block in tower.blocks:
        everything.append(block.attend(x).mean(dim=0))
        x = block.after(x)
    own = F.normalize(tower.own(images), dim=-1)
    sums = summed(tower, images)
    read = tower.readout.tokens
    for tokens, read_only in ((slice(None), False), (read, True)):
        found = total_effects(tower, images, sums, all_heads(tower), read_only=read_only)
        heads = [(n, h) for n, some in all_heads(tower).items() for h in some]
        assert found.shape == (3, len(heads), tower.d_joint)
        for at, (layer, head) in enumerate(heads):
            changed = literal(tower, images, everything, layer, head, tokens)
            torch.testing.assert_close(found[:, at], own - changed, atol=1e-10, rtol=0)


def test_of_the_heads_asked_for_alone_and_whatever_the_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = small_clip()
    tower, images = tower_of(clip.visual), pixels(clip, n=3)
    sums = summed(tower, images)
    whole = total_effects(tower, images, sums, all_heads(tower))
    monkeypatch.setattr("pipeline.heads.effects.ROWS", 4)
    some = total_effects(tower, images, sums, {0: [2, 0], 2: [1]})
    torch.testing.assert_close(some, whole[:, [0, 2, 7]], atol=1e-12, rtol=0)
    # heads of the last layer of a class-token tower act at the class token alone
    alone = total_effects(tower, images, sums, {2: range(3)}, read_only=True)
    torch.testing.assert_close(alone, whole[:, 6:], atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["plain", "average", "custom: LayerNorms and head scale"])
def test_atp_is_the_derivative_of_replacing_a_head_little_by_little(name: str) -> None:
    clip = small_clip(**FAMILIES[name])
    tower, images = tower_of(clip.visual), pixels(clip, n=2)
    sums, step = summed(tower, pixels(clip, n=4, seed=9)), 1e-5
    targets = torch.randn(2, tower.d_joint, dtype=torch.float64)
    heads = {0: [1], 1: [0, 2], 2: [2]}
    found = attributed_effects(tower, images, sums, heads, targets)
    at = 0
    for layer, some in heads.items():
        for head in some:
            ends = [_moved(tower, images, sums, layer, head, t) for t in (step, -step)]
            slope = (ends[0] - ends[1]) @ targets.T / (2 * step)
            torch.testing.assert_close(found[:, at], slope, atol=1e-7, rtol=1e-6)
            at += 1


def _moved(
    tower: Tower, images: Tensor, sums: PositionSums, layer: int, head: int, t: float
) -> Tensor:
    """Return ê with o + t (o − mean) in place of o."""
    x = tower.embed(images)
    for index, block in enumerate(tower.blocks):
        o = block.attend(x)
        if index == layer:
            mean = sums.mean_outputs(layer, o)
            read = mean.shape[1]
            o[:, head, :read] += t * (o[:, head, :read] - mean[head])
        x = x + block.write(o).update
        x = x + block.mlp(x)
    return F.normalize(tower.readout.embed(x), dim=-1)


def test_gradient_dropout_is_the_mean_over_layers_whose_parts_are_constants() -> None:
    clip = small_clip()
    tower, images = tower_of(clip.visual), pixels(clip, n=2)
    sums = summed(tower, pixels(clip, n=4, seed=9))
    targets = torch.randn(2, tower.d_joint, dtype=torch.float64)
    found = attributed_effects(
        tower, images, sums, all_heads(tower), targets, gradient_dropout=True
    )
    expected = torch.zeros_like(found)
    for dropped in range(tower.n_layers):
        x, outputs = tower.embed(images), []
        for index, block in enumerate(tower.blocks):
            o = block.attend(x)
            o = o if o.requires_grad else o.detach().requires_grad_()
            outputs.append(o)
            for part in (lambda y, b=block, o=o: b.write(o).update, block.mlp):
                added = part(x)
                x = x + (added.detach() if index == dropped else added)
        e = F.normalize(tower.readout.embed(x), dim=-1)
        for column, w in enumerate(targets):
            gradients = torch.autograd.grad(
                (e @ w).sum(), outputs, retain_graph=True, allow_unused=True
            )
            for layer, (o, gradient) in enumerate(zip(outputs, gradients, strict=True)):
                if gradient is not None:
                    read = sums.mean_outputs(layer, o).shape[1]
                    gap = o[:, :, :read] - sums.mean_outputs(layer, o)
                    by_head = (gap * gradient[:, :, :read]).sum(dim=(2, 3)).detach()
                    expected[:, 3 * layer : 3 * layer + 3, column] += by_head
    torch.testing.assert_close(found, expected / (tower.n_layers - 1), atol=1e-12, rtol=0)


def test_direct_is_the_target_on_the_centred_contribution() -> None:
    clip = small_clip()
    tower, images = tower_of(clip.visual), pixels(clip, n=4)
    frames = head_frames(tower, (0, 1, 2))
    decomposer = Decomposer(tower, frames)
    found, sums = decomposer(images), summed(tower, images)
    targets = class_directions(torch.randn(3, tower.d_joint, dtype=torch.float64))
    got = direct_effects(decomposer, found, sums, all_heads(tower), targets)
    for layer in range(3):
        for head in range(3):
            c = found.vectors[layer][:, head] @ torch.from_numpy(frames.q[layer, head]).T
            expected = (c - c.mean(dim=0)) @ targets.T
            torch.testing.assert_close(got[:, 3 * layer + head], expected, atol=1e-12, rtol=0)


def test_sums_merge_and_are_read_back() -> None:
    clip = small_clip()
    tower, images = tower_of(clip.visual), pixels(clip, n=5)
    whole = summed(tower, images)
    merged = PositionSums()
    for part in (images[:2], images[2:2], images[2:]):
        if len(part):
            merged.merge(PositionSums.from_table(summed(tower, part).to_table()))
        else:
            merged.merge(PositionSums.from_table(PositionSums().to_table()))
    assert merged.count == whole.count == 5
    assert merged.sums.keys() == whole.sums.keys() and len(whole.sums) == 6
    for key, theirs in whole.sums.items():
        np.testing.assert_allclose(merged.sums[key], theirs, atol=1e-12)


def test_a_class_is_compared_with_the_mean_of_the_others() -> None:
    weights = torch.tensor([[1.0, 0], [0, 1], [3, 2]])
    expected = torch.tensor([[-0.5, -1.5], [-2.0, 0.0], [2.5, 1.5]])
    torch.testing.assert_close(class_directions(weights), expected)
    torch.testing.assert_close(class_directions(weights[:1]), weights[:1])


def test_the_cost_is_that_of_the_formula() -> None:
    tower = tower_of(small_clip().visual)
    assert passes(3, all_heads(tower)) == pytest.approx(1 + 3 * ((3 - 1) / 2 + 0.6))
