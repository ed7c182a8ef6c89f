"""Paths from head to head: parts sum to the head, each is what its source really adds."""

import numpy as np
import pytest
import torch

from pipeline.heads.edges import Edges, EdgeSums, sources
from pipeline.towers.registry import tower_of
from schemas.errors import UnsupportedModel
from tests.pipeline.heads.test_effects import FAMILIES
from tests.towers import pixels, small_clip

POOLED = "attentional pool"
SUMMED = {name: options for name, options in FAMILIES.items() if name != POOLED}


def summed(edges: Edges, images: torch.Tensor) -> EdgeSums:
    found = EdgeSums()
    for layer in edges(images):
        found.add(layer)
    return found


@pytest.mark.parametrize("options", SUMMED.values(), ids=SUMMED.keys())
def test_a_head_is_the_sum_of_its_parts_and_shares_sum_to_one(options: dict[str, object]) -> None:
    clip = small_clip(**options)
    tower, images = tower_of(clip.visual), pixels(clip, n=5)
    edges, x = Edges(tower), tower.embed(images)
    sums = EdgeSums()
    for found, block in zip(edges(images), tower.blocks, strict=True):
        own = block.attend(x)[:, :, tower.readout.tokens].mean(dim=2)
        torch.testing.assert_close(found.output, own, atol=1e-12, rtol=0)
        assert found.parts.shape[2] == len(sources(tower, found.layer))
        torch.testing.assert_close(found.parts.sum(dim=2), own, atol=1e-10, rtol=0)
        sums.add(found)
        x = block.after(x)
    for layer in range(tower.n_layers):
        np.testing.assert_allclose(sums.shares(layer).sum(axis=1), 1, atol=1e-10)


def test_each_part_is_that_of_its_source_literally() -> None:
    clip = small_clip()
    tower, images = tower_of(clip.visual), pixels(clip, n=2)
    layer = 2
    *_, found = Edges(tower)(images)
    x = tower.embed(images)
    added = {("init", None, None): x.clone()}
    for index, block in enumerate(tower.blocks[:layer]):
        o = block.attend(x)
        weight = block.out.weight
        for head in range(3):
            columns = weight[:, 8 * head : 8 * head + 8]
            added["head", index, head] = o[:, head] @ columns.T
        added["bias", index, None] = block.out.bias.expand_as(x)
        x = x + block.write(o).update
        added["mlp", index, None] = block.mlp(x)
        x = x + added["mlp", index, None]
    block = tower.blocks[layer]
    q, k, _ = block.qkv(x)
    alpha = block.alpha(q, k)[:, :, 0]
    sigma = (x.var(dim=-1, correction=0) + block.norm.eps).sqrt()
    attn = clip.visual.transformer.resblocks[layer].attn
    for place, source in enumerate(sources(tower, layer)):
        if source.kind == "const":
            continue
        of = added[tuple(source)]
        centred = (of - of.mean(dim=-1, keepdim=True)) / sigma[..., None] * block.norm.weight
        for head in range(3):
            value = attn.in_proj_weight[48 + 8 * head : 48 + 8 * head + 8]
            expected = torch.einsum("bi,bid->bd", alpha[:, head], centred @ value.T)
            torch.testing.assert_close(found.parts[:, head, place], expected, atol=1e-12, rtol=0)


def test_shares_are_those_of_the_covariance_however_pictures_are_split() -> None:
    clip = small_clip()
    tower, images = tower_of(clip.visual), pixels(clip, n=6)
    edges, merged = Edges(tower), EdgeSums()
    for part in images.split([1, 3, 2]):
        merged.merge(EdgeSums.from_table(summed(edges, part).to_table()))
    merged.merge(EdgeSums.from_table(EdgeSums().to_table()))
    assert merged.count == 6
    for found in edges(images):
        parts, o = (t - t.mean(dim=0) for t in (found.parts, found.output))
        expected = torch.einsum("bhsk,bhk->hs", parts, o) / (o**2).sum(dim=(0, 2))[:, None]
        np.testing.assert_allclose(merged.shares(found.layer), expected, atol=1e-10)


def test_a_pool_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="pools by attention"):
        Edges(tower_of(small_clip(**FAMILIES[POOLED]).visual))
