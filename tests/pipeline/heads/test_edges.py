"""Paths from head to head: parts sum to the head, each is what its source really adds."""

import numpy as np
import pytest
import torch

from pipeline.heads.decompose import Decomposer
from pipeline.heads.edge_sums import SECOND, EdgeSums, EdgeWatch
from pipeline.heads.edges import Edges, EdgeWalk, Rebuilt, sources
from pipeline.heads.stored_frames import Frames
from pipeline.towers.forward import forward_parts
from pipeline.towers.registry import tower_of
from schemas.errors import UnsupportedModel
from tests.pipeline.heads.test_effects import FAMILIES
from tests.timm_towers import FAMILIES as OTHER
from tests.timm_towers import pictures, small_visual
from tests.towers import pixels, small_clip

POOLED = "attentional pool"
REFUSED = (
    "EVA, gated",
    *("timm norm after each part", "timm norm after each part, average before"),
    *("relative positions, norm after", "EVA02-E, norm after", "EVA, inner norm and norm after"),
)
SUMMED = {name: options for name, options in FAMILIES.items() if name != POOLED}


def rebuilt(edges: Edges, images: torch.Tensor) -> list[Rebuilt]:
    found: list[Rebuilt] = []
    forward_parts(edges.tower, images, watch=EdgeWalk(edges, found.append))
    return found


def summed(edges: Edges, images: torch.Tensor) -> EdgeSums:
    watch = EdgeWatch(edges)
    return watch.take(Decomposer(edges.tower, Frames({}))(images, watch))


@pytest.mark.parametrize("options", SUMMED.values(), ids=SUMMED.keys())
def test_a_head_is_the_sum_of_its_parts_and_shares_sum_to_one(options: dict[str, object]) -> None:
    clip = small_clip(**options)
    tower, images = tower_of(clip.visual), pixels(clip, n=5)
    edges, x = Edges(tower), tower.embed(images)
    sums = EdgeSums()
    for found, block in zip(rebuilt(edges, images), tower.blocks, strict=True):
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
    *_, found = rebuilt(Edges(tower), images)
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
    for found in rebuilt(edges, images):
        parts, o = (t - t.mean(dim=0) for t in (found.parts, found.output))
        expected = torch.einsum("bhsk,bhk->hs", parts, o) / (o**2).sum(dim=(0, 2))[:, None]
        np.testing.assert_allclose(merged.shares(found.layer), expected, atol=1e-10)


@pytest.mark.parametrize("name", OTHER)
def test_of_other_families_heads_are_the_sum_of_their_parts_or_refused(name: str) -> None:
    visual = small_visual(name)
    tower, images = tower_of(visual), pictures(visual)
    why = {n: "pools by attention" for n in OTHER if "map" in n or n.startswith(("PE", "CLIP"))}
    why |= dict.fromkeys(REFUSED, "gated, or what comes before it is no LayerNorm")
    if name in why:
        with pytest.raises(UnsupportedModel, match=why[name]):
            Edges(tower)
        return
    sums, x = EdgeSums(), tower.embed(images)
    for found, block in zip(rebuilt(Edges(tower), images), tower.blocks, strict=True):
        own = block.attend(x)[:, :, tower.readout.tokens].mean(dim=2)
        torch.testing.assert_close(found.parts.sum(dim=2), own, atol=1e-10, rtol=0)
        sums.add(found)
        x = block.after(x)
    for layer in range(tower.n_layers):
        np.testing.assert_allclose(sums.shares(layer).sum(axis=1), 1, atol=1e-8)


def test_a_pool_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="pools by attention"):
        Edges(tower_of(small_clip(**FAMILIES[POOLED]).visual))


@pytest.mark.parametrize("name", [n for n in SUMMED if n != "average of normalised"])
def test_second_order_is_what_a_head_writes_through_later_heads(name: str) -> None:
    clip = small_clip(**SUMMED[name])
    tower, images = tower_of(clip.visual), pixels(clip, n=4)
    edges, read = Edges(tower), tower.readout.tokens
    *_, last = rebuilt(edges, images)
    raw = tower.own(images)
    embedding = raw / raw.norm(dim=-1, keepdim=True)
    norm = tower.readout.post or tower.readout.pre
    pooled = tower.states(images)[:, read].mean(dim=1)
    sigma = (pooled.var(dim=-1, correction=0) + norm.eps).sqrt()
    expected = torch.zeros(4, 2 * 3, tower.d_joint, dtype=torch.float64)
    x = tower.embed(images)
    for found, block in zip(rebuilt(edges, images), tower.blocks, strict=True):
        written = block.write(block.attend(x))
        scale = 1 if written.heads is None else written.heads[:, 0, None]
        names = sources(tower, found.layer)
        for below in range(found.layer):
            for head in range(3):
                at = names.index(("head", below, head))
                for reader in range(3):
                    part = found.parts[:, reader, at] * scale
                    joint = part @ block.transform()[reader] @ tower.readout.map(tower.d_model)
                    expected[:, 3 * below + head] += joint / (sigma * raw.norm(dim=-1))[:, None]
        x = block.after(x)
    walk = EdgeWalk(edges, lambda one: None)
    forward_parts(tower, images, watch=walk)
    assert walk.second is not None and last.layer == 2
    made = walk.second / (sigma * raw.norm(dim=-1))[:, None, None]
    torch.testing.assert_close(made, expected, atol=1e-10, rtol=0)
    e = embedding - embedding.mean(dim=0)
    s = expected - expected.mean(dim=0)
    shares = torch.einsum("bsj,bj->s", s, e) / (e**2).sum()
    merged = EdgeSums()
    for part in images.split([1, 3]):
        merged.merge(EdgeSums.from_table(summed(edges, part).to_table()))
    found_shares = merged.second_shares()
    assert found_shares is not None and SECOND in merged.layers
    np.testing.assert_allclose(found_shares, shares, atol=1e-10)


def test_where_tokens_read_have_scales_of_their_own_there_is_no_second_order() -> None:
    tower = tower_of(small_clip(**SUMMED["average of normalised"]).visual)
    clip = small_clip(**SUMMED["average of normalised"])
    assert not Edges(tower).has_second
    assert summed(Edges(tower), pixels(clip, n=2)).second_shares() is None
