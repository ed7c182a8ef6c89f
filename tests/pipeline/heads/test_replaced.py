"""Components replaced, against a literal run: a plain forward, or hooks on the model's own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.heads.decompose import Decomposer
from pipeline.heads.effects import total_effects
from pipeline.heads.frames import head_frames
from pipeline.heads.position_means import PositionSums, parts_of
from pipeline.heads.replaced import Case, Replacing, direct, layers_of
from pipeline.towers.registry import tower_of
from pipeline.towers.tower import Tower
from schemas.errors import UnsupportedModel
from tests.pipeline.heads.test_effects import FAMILIES as OWN
from tests.timm_towers import FAMILIES as OTHER
from tests.timm_towers import pictures, small_visual
from tests.towers import pixels, small_clip

HEADS = Case({0: (1,), 1: (0, 2)})
MLPS = Case(mlps=frozenset({0, 2}))
CLS = Case(cls=frozenset({0, 1, 2}))
TRUNKS = [name for name in OTHER if name != "CLIP ResNet"]


def summed(tower: Tower, images: Tensor, cases: list[Case]) -> PositionSums:
    layers, sums = layers_of(cases), PositionSums()
    frames = head_frames(tower, sorted({*layers.heads, *layers.cls}))
    decomposer = Decomposer(tower, frames, mlp=bool(layers.mlps))
    for batch in images.split(2):
        sums.add(parts_of(decomposer, batch, layers)[0])
    return sums


def literal(
    tower: Tower, images: Tensor, means: list[dict[str, Tensor]] | None, case: Case, tokens: slice
) -> Tensor:
    """Return ê of a plain forward, its parts overwritten token by token."""
    x = tower.embed(images)
    for layer, block in enumerate(tower.blocks):
        q, k, v = block.project(block.norm(x), None)
        alpha = (q @ k.mT / block.d_head**0.5).softmax(dim=-1)
        own = torch.zeros(()) if means is None else means[layer]
        if layer in case.cls:
            o = torch.zeros_like(v)
            for i in range(v.shape[2]):
                for j in range(v.shape[2]):
                    if (i, j) != (0, 0):
                        o[:, :, i] += alpha[:, :, i, j, None] * v[:, :, j]
            if means is not None:
                o[:, :, 0] += own["class"]
        else:
            o = alpha @ v
        for head in case.heads.get(layer, ()):
            for i in range(o.shape[2])[tokens]:
                o[:, head, i] = 0 if means is None else own["output"][head, i]
        x = x + block.write(o).update
        added = block.mlp(x)
        if layer in case.mlps:
            for i in range(x.shape[1])[tokens]:
                added[:, i] = 0 if means is None else own["mlp"][i]
        x = x + added
    return F.normalize(tower.readout.embed(x), dim=-1)


def literal_means(tower: Tower, images: Tensor) -> list[dict[str, Tensor]]:
    x, found = tower.embed(images), []
    for block in tower.blocks:
        q, k, v = block.project(block.norm(x), None)
        alpha = (q @ k.mT / block.d_head**0.5).softmax(dim=-1)
        parts = {"output": alpha @ v, "class": alpha[:, :, 0, 0, None] * v[:, :, 0]}
        x = x + block.write(parts["output"]).update
        parts["mlp"] = block.mlp(x)
        x = x + parts["mlp"]
        found.append({name: part.mean(dim=0) for name, part in parts.items()})
    return found


@pytest.mark.parametrize("everywhere", [True, False], ids=["all", "class"])
@pytest.mark.parametrize("options", OWN.values(), ids=OWN.keys())
def test_total_equals_a_literal_run(options: dict[str, object], everywhere: bool) -> None:
    clip = small_clip(**options)
    tower, images = tower_of(clip.visual), pixels(clip, n=3)
    cases = [Case(), HEADS, MLPS, HEADS.joined(MLPS)]
    if tower.readout.single:
        cases += [CLS, HEADS.joined(MLPS).joined(CLS)]
    means = literal_means(tower, images)
    tokens = slice(None) if everywhere else tower.readout.tokens
    for sums, by in ((summed(tower, images, cases), means), (None, None)):
        found = Replacing(tower, sums, everywhere).total(images, cases)
        for case, ends in zip(cases, found, strict=True):
            expected = literal(tower, images, by, case, tokens)
            torch.testing.assert_close(ends, expected, atol=1e-10, rtol=0)
    own = F.normalize(tower.own(images), dim=-1)
    torch.testing.assert_close(found[0], own, atol=1e-10, rtol=0)
    assert (found[1:] - own).abs().amax(dim=(1, 2)).min() > 1e-3


@contextmanager
def hooked(
    tower: Tower, case: Case, means: dict[int, Tensor] | None, tokens: slice
) -> Iterator[dict[int, Tensor]]:
    """Overwrite heads where the model's own modules receive them; give what they received."""
    seen: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for layer, block in enumerate(tower.blocks):

            def hook(_: object, args: tuple[Tensor], layer: int = layer) -> tuple[Tensor]:
                o = args[0].clone()
                width = o.shape[-1] // tower.blocks[layer].n_heads
                seen[layer] = args[0].unflatten(-1, (-1, width)).transpose(1, 2)
                for head in case.heads.get(layer, ()):
                    columns = slice(head * width, (head + 1) * width)
                    mean = 0 if means is None else means[layer][head, : o.shape[1]][tokens]
                    o[:, tokens, columns] = mean
                return (o,)

            module = block.out if block.inner is None else block.inner
            stack.callback(module.register_forward_pre_hook(hook).remove)
        yield seen


@pytest.mark.parametrize("name", TRUNKS)
def test_total_equals_the_model_s_own_run_with_hooks(name: str) -> None:
    visual = small_visual(name)
    tower, images = tower_of(visual), pictures(visual)
    cases = [HEADS, Case({1: (1,)})]
    with hooked(tower, Case(), None, slice(None)) as seen:
        own = F.normalize(tower.own(images), dim=-1)
    means = {layer: o.mean(dim=0) for layer, o in seen.items()}
    sums = summed(tower, images, cases)
    for everywhere in (True, False):
        tokens = slice(None) if everywhere else tower.readout.tokens
        for by, literal_by in ((sums, means), (None, None)):
            found = Replacing(tower, by, everywhere).total(images, cases)
            for case, ends in zip(cases, found, strict=True):
                with hooked(tower, case, literal_by, tokens):
                    expected = F.normalize(tower.own(images), dim=-1)
                torch.testing.assert_close(ends, expected, atol=1e-10, rtol=0)
                assert (ends - own).abs().max() > 1e-4
        effect = total_effects(tower, images, sums, {1: [1]}, read_only=not everywhere)
        alone = Replacing(tower, sums, everywhere).total(images, [Case({1: (1,)})])[0]
        torch.testing.assert_close(effect[:, 0], own - alone, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", ["timm map (SigLIP)", "PE", "CLIP ResNet"])
def test_heads_of_a_pool_are_replaced_and_what_follows_sees_it(name: str) -> None:
    visual = small_visual(name)
    tower, images = tower_of(visual), pictures(visual)
    pool, case = tower.readout.pool, Case({tower.n_layers: (0, 2)})
    assert pool is not None
    x = tower.readout.normed(tower.states(images))
    q, k, v = pool.project(x)
    o = ((q @ k.mT / pool.d_head**0.5).softmax(dim=-1) @ v)[:, :, 0]
    sums = summed(tower, images, [case])
    for by, mean in ((sums, o.mean(dim=0)), (None, torch.zeros_like(o[0]))):
        changed = o.clone()
        for head in (0, 2):
            changed[:, head] = mean[head]
        t = changed.flatten(1) @ pool.out.weight.T + pool.out.bias
        t = t if pool.mlp is None else t + pool.mlp(t)
        expected = F.normalize(tower.readout.finish(t), dim=-1)
        (found,) = Replacing(tower, by).total(images, [case])
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    if tower.n_layers:
        with pytest.raises(UnsupportedModel, match=r"heads of the pool .* give one of them"):
            Replacing(tower, None).require([case.joined(Case(mlps=frozenset({0})))])


@pytest.mark.parametrize("name", ["plain", "layer scale", "custom: LayerNorms and head scale"])
def test_direct_takes_away_the_contributions_as_they_are(name: str) -> None:
    clip = small_clip(**OWN[name])
    tower, images = tower_of(clip.visual), pixels(clip, n=4)
    cases = [Case(), HEADS, MLPS, CLS, HEADS.joined(MLPS).joined(CLS)]
    sums = summed(tower, images, cases)
    decomposer = Decomposer(tower, head_frames(tower, (0, 1, 2)), mlp=True)
    parts, whole = parts_of(decomposer, images, layers_of(cases))
    through = tower.readout.map(tower.d_model)
    scale = 1 / (whole.sigma * whole.norm)[:, None]
    x, heads, mlps, alone = tower.embed(images), [], [], []
    for block in tower.blocks:
        q, k, v = block.project(block.norm(x), None)
        alpha = (q @ k.mT / block.d_head**0.5).softmax(dim=-1)
        o = alpha @ v
        written = block.write(o)
        factor = 1 if written.heads is None else written.heads[:, :1, None]
        down = torch.einsum("hkd,dj->hkj", block.transform(), through)
        for of, value in ((heads, o[:, :, 0]), (alone, alpha[:, :, 0, 0, None] * v[:, :, 0])):
            of.append(torch.einsum("bhk,hkj->bhj", value * factor, down) * scale[:, None])
        x = x + written.update
        mlps.append((block.mlp(x)[:, 0] @ through) * scale)
        x = x + block.mlp(x)
    for means in (sums, None):
        found = direct(decomposer, parts, whole, means, cases)
        for case, ends in zip(cases, found, strict=True):
            left = F.normalize(tower.own(images), dim=-1)
            taken = [heads[n][:, h] for n, some in case.heads.items() for h in some]
            taken += [mlps[n] for n in case.mlps]
            taken += [
                alone[n][:, h] for n in case.cls for h in range(3) if h not in case.heads.get(n, ())
            ]
            for part in taken:
                left = left - (part - part.mean(dim=0) if means is not None else part)
            torch.testing.assert_close(ends, left, atol=1e-10, rtol=0)


def test_a_tower_without_a_class_token_has_no_attention_of_it() -> None:
    tower = tower_of(small_clip(**OWN["average"]).visual)
    with pytest.raises(UnsupportedModel, match="reads no class token"):
        Replacing(tower, None).require([CLS])
