"""Gradients at both ends of the way to the means, against a plain forward run in loops."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.heads.effects import all_heads, attributed_effects, total_effects
from pipeline.heads.integrated import integrated_effects, integrated_passes
from pipeline.towers.registry import tower_of
from pipeline.towers.tower import Tower
from tests.pipeline.heads.test_effects import FAMILIES, summed
from tests.towers import pixels, small_clip


def slope(tower: Tower, images: Tensor, layer: int, mean: Tensor, share: float, w: Tensor):
    """Return o − mean of a layer's heads, and the gradient with all heads a share of the way."""
    x = tower.embed(images)
    for index, block in enumerate(tower.blocks):
        o = block.attend(x)
        if index == layer:
            read = mean.shape[1]
            gap = torch.zeros_like(o)
            gap[:, :, :read] = o[:, :, :read] - mean
            o = at = (o - share * gap).detach().requires_grad_()
        x = x + block.write(o).update
        x = x + block.mlp(x)
    e = F.normalize(tower.readout.embed(x), dim=-1)
    return gap, torch.autograd.grad((e @ w).sum(), at)[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_half_of_the_slopes_at_both_ends(name: str) -> None:
    clip = small_clip(**FAMILIES[name])
    tower, images = tower_of(clip.visual), pixels(clip, n=2)
    sums = summed(tower, pixels(clip, n=4, seed=9))
    targets = torch.randn(2, tower.d_joint, dtype=torch.float64)
    some = {0: [2, 0], 2: [1]}
    found = integrated_effects(tower, images, sums, some, targets)
    for row, (layer, head) in enumerate([(0, 0), (0, 2), (2, 1)]):
        n = tower.blocks[layer].n_heads
        with torch.no_grad():
            x = tower.embed(images)
            for block in tower.blocks[:layer]:
                x = block.after(x)
            o = tower.blocks[layer].attend(x)
        # of the last layer, an attentional pool or an average reads every token; a class token one
        mean = sums.mean_outputs(layer, o)
        for column, w in enumerate(targets):
            parts = []
            for share in (0.0, 1 / math.sqrt(n)):
                gap, gradient = slope(tower, images, layer, mean, share, w)
                parts.append((gap * gradient)[:, head].sum(dim=(1, 2)))
            torch.testing.assert_close(found[:, row, column], sum(parts) / 2, atol=1e-10, rtol=0)


def test_it_is_nearer_to_the_total_than_a_first_order() -> None:
    """Of a polynomial of second order the trapezoid rule is exact; of a tower it is nearer."""
    clip = small_clip()
    tower, images = tower_of(clip.visual), pixels(clip, n=6)
    sums, heads = summed(tower, pixels(clip, n=8, seed=9)), all_heads(tower)
    targets = torch.randn(3, tower.d_joint, dtype=torch.float64)
    exact = total_effects(tower, images, sums, heads) @ targets.T
    off = [
        float((f(tower, images, sums, heads, targets) - exact).abs().mean())
        for f in (attributed_effects, integrated_effects)
    ]
    assert off[1] < 0.8 * off[0]


def test_passes_are_those_of_atp_and_again_from_each_layer_on() -> None:
    assert integrated_passes(6, {n: [0] for n in range(6)}, 5) == pytest.approx(6 * (1 + 3.5))
    assert integrated_passes(4, {3: [0, 1]}, 1) == pytest.approx(2 * 1.25)
