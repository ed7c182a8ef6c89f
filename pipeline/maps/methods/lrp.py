"""Maps from relevance: LRP, partial LRP, and Chefer's method (CVPR 2021).

Relevance 1 starts at the cosine with a text and goes down through the dot product, the projection
and the blocks by the rules of `pipeline.maps.rules`. They divide by sums that may be small, so that
the rounding of half precision would decide the map: such a model is copied to single precision.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.maps import graph, rules
from pipeline.maps.base import (
    Maps,
    as_tower,
    grid_of,
    on_grid,
    patch_of,
    positions,
    texts_of_each,
)
from pipeline.maps.method import OWN_PLAIN, map_method
from pipeline.towers.block import Block
from pipeline.towers.tower import Tower


@map_method(
    "lrp",
    title="LRP",
    shows="relevance down to the pixels, summed over each patch",
    source="arXiv 2012.09838",
    needs="gradient",
    towers=OWN_PLAIN,
)
def lrp(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return LRP down to the pixels, summed over each patch. `labels` is not used."""
    fine, embedding = lrp_pixels(tower, pixels, texts)
    patch_h, patch_w = patch_of(tower)
    blocks = fine.unflatten(-1, (-1, patch_w)).unflatten(-3, (-1, patch_h))
    return Maps(blocks.sum(dim=(-3, -1)), embedding)


def lrp_pixels(
    tower: Tower | nn.Module,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
) -> tuple[Float[Tensor, "image text height width"], Float[Tensor, "image d_joint"]]:
    """Return every pixel's relevance, channels summed, and the unit-norm embedding."""
    tower, pixels = _single(as_tower(tower), pixels)
    visual: Any = tower.visual
    traced = _trace(tower, pixels)
    grid = grid_of(tower, pixels)
    patches = visual.conv1(pixels)
    raw = torch.cat(
        [
            visual.class_embedding.to(patches.dtype).expand(len(pixels), 1, -1),
            patches.flatten(2).mT,
        ],
        dim=1,
    )
    places = positions(visual, grid).to(raw.dtype).expand_as(raw)
    found = []
    for text in _rows(texts, traced.embedding):
        *_, (_, r) = _backward(tower, traced, text)
        r, _ = rules.addition(r, raw, places)
        on_patches = r[:, 1:].mT.unflatten(-1, grid)
        found.append(rules.pixels_below(on_patches, pixels, visual.conv1.weight).sum(dim=1))
    return torch.stack(found, dim=1).to(traced.embedding.dtype), traced.embedding


@map_method(
    "partial-lrp",
    title="partial LRP",
    shows="relevance at the last softmax: mean_h (R^A)⁺[cls, i]",
    source="arXiv 1905.09418",
    needs="gradient",
    towers=OWN_PLAIN,
)
def partial_lrp(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return mean_h (R^A)⁺[cls, i]: relevance at the last softmax. `labels` is not used."""
    tower, pixels = _single(tower, pixels)
    traced = _trace(tower, pixels)
    rows = []
    for text in _rows(texts, traced.embedding):
        of_attention, _ = next(_backward(tower, traced, text))
        rows.append(of_attention[:, :, 0, 1:].relu().mean(dim=1))
    return Maps(on_grid(torch.stack(rows, dim=1), grid_of(tower, pixels)), traced.embedding)


@map_method(
    "chefer",
    title="Chefer 2021",
    shows="product over layers of I + mean_h(∇A ⊙ R^A)⁺, row cls",
    source="arXiv 2012.09838",
    needs="gradient",
    towers=OWN_PLAIN,
)
def chefer(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return row cls of M_L … M_1, M_l = I + mean_h(∇A_l ⊙ R^A_l)⁺. `labels` is not used."""
    tower, pixels = _single(tower, pixels)
    rows = []
    with graph.differentiable():
        found = graph.forward(tower, pixels)
        attentions = [layer.a for layer in found.layers]
        traced = _traced(tower, found)
        scores = graph.scores(found, texts)
        for score, text in zip(scores, _rows(texts, traced.embedding), strict=True):
            slopes = graph.gradients(score, attentions)
            eye = torch.eye(slopes[0].shape[-1], dtype=slopes[0].dtype, device=slopes[0].device)
            # from the last layer down: a row vector times M_L, then M_{L-1} ...
            row = eye[:1].expand(len(score), 1, -1)
            for slope, (relevance, _) in zip(
                reversed(slopes), _backward(tower, traced, text), strict=False
            ):
                row = row @ (eye + (slope * relevance).relu().mean(dim=1))
            rows.append(row[:, 0, 1:].detach())
    return Maps(on_grid(torch.stack(rows, dim=1), grid_of(tower, pixels)), traced.embedding)


def _single(
    tower: Tower, pixels: Float[Tensor, "image 3 height width"]
) -> tuple[Tower, Float[Tensor, "image 3 height width"]]:
    """Return the image encoder and its pictures in at least single precision."""
    if tower.dtype in (torch.float16, torch.bfloat16):
        return as_tower(copy.deepcopy(tower.visual).float()), pixels.float()
    return tower, pixels


@dataclass(frozen=True)
class _Block:
    """What one block's layers took in and gave out.

    Attributes:
        attention: of the differentiable pass, detached.
        merged: heads' outputs side by side, the input of out_proj.
        written: what attention adds.
        middle: the residual stream between attention and MLP.
        u: ln_2(middle).
        hidden: after the MLP's nonlinearity.
        mlp: what the MLP adds.
    """

    attention: graph.Layer
    merged: Float[Tensor, "image token d_model"]
    written: Float[Tensor, "image token d_model"]
    middle: Float[Tensor, "image token d_model"]
    u: Float[Tensor, "image token d_model"]
    hidden: Float[Tensor, "image token d_hidden"]
    mlp: Float[Tensor, "image token d_model"]


@dataclass(frozen=True)
class _Traced:
    blocks: tuple[_Block, ...]
    normed: Float[Tensor, "image d_model"]
    embedding: Float[Tensor, "image d_joint"]


def _trace(tower: Tower, pixels: Float[Tensor, "image 3 height width"]) -> _Traced:
    with torch.no_grad():
        return _traced(tower, graph.forward(tower, pixels))


@torch.no_grad()
def _traced(tower: Tower, found: graph.Pass) -> _Traced:
    visual: Any = tower.visual
    blocks = tuple(
        _trace_block(block, layer) for block, layer in zip(tower.blocks, found.layers, strict=True)
    )
    last = (blocks[-1].middle + blocks[-1].mlp)[:, 0]
    return _Traced(blocks, visual.ln_post(last), found.embedding.detach())


def _trace_block(of: Block, layer: graph.Layer) -> _Block:
    block: Any = of.module
    layer = graph.Layer(**{name: value.detach() for name, value in vars(layer).items()})
    merged = layer.o.transpose(1, 2).flatten(2)
    written = of.write(layer.o).update
    middle = layer.x + written
    u = block.ln_2(middle)
    hidden = block.mlp.gelu(block.mlp.c_fc(u))
    return _Block(layer, merged, written, middle, u, hidden, block.ls_2(block.mlp.c_proj(hidden)))


def _rows(
    texts: Float[Tensor, "*image text d_joint"], embedding: Float[Tensor, "image d_joint"]
) -> list[Float[Tensor, "image d_joint"]]:
    each = texts_of_each(texts, len(embedding)).to(embedding.dtype)
    return list(each.unbind(dim=1))


@torch.no_grad()
def _top(
    tower: Tower, traced: _Traced, text: Float[Tensor, "image d_joint"]
) -> Float[Tensor, "image token d_model"]:
    """Return relevance after the last block: all of it at the class token.

    The dot product is a linear layer whose weights are the text, one for each picture.
    """
    visual: Any = tower.visual
    positive = (traced.embedding * text).clamp_min(0)
    of_joint = rules.ratio(positive, positive.sum(dim=-1, keepdim=True).expand_as(positive))
    at_class = rules.linear(of_joint.to(traced.normed.dtype), traced.normed, visual.proj.detach().T)
    r = torch.zeros_like(traced.blocks[-1].middle)
    r[:, 0] = at_class
    return r


def _backward(
    tower: Tower, traced: _Traced, text: Float[Tensor, "image d_joint"]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, from the last block to the first, the relevance of its attention and of its input."""
    r = _top(tower, traced, text)
    pairs = zip(tower.blocks, traced.blocks, strict=True)
    for block, one in reversed(list(pairs)):
        of_attention, r = _below(block.module, one, r)
        yield of_attention, r


@torch.no_grad()
def _below(
    block: Any, one: _Block, r: Float[Tensor, "image token d_model"]
) -> tuple[Float[Tensor, "image n_heads token token"], Float[Tensor, "image token d_model"]]:
    """Take relevance from behind a block to its attention probabilities and to its input."""
    a = one.attention
    r_middle, r_mlp = rules.addition(r, one.middle, one.mlp)
    r_hidden = rules.linear(r_mlp, one.hidden, block.mlp.c_proj.weight)
    r_middle = r_middle + rules.linear(r_hidden, one.u, block.mlp.c_fc.weight)
    r_x, r_written = rules.addition(r_middle, a.x, one.written)
    r_merged = rules.linear(r_written, one.merged, block.attn.out_proj.weight)
    r_o = r_merged.unflatten(-1, (a.o.shape[1], -1)).transpose(1, 2)
    r_attention, r_v = rules.product(r_o, a.a, a.v)
    r_q, r_k = rules.product(r_attention, a.q, a.k.mT)
    joined = torch.stack([r_q, r_k.mT, r_v]).permute(1, 3, 0, 2, 4).flatten(2)
    return r_attention, r_x + rules.linear(joined, a.y, block.attn.in_proj_weight)
