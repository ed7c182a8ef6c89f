"""A forward pass whose attention can be differentiated: what the gradient methods start from.

Only the attention and the states are differentiated, never the weights, and the model keeps no
gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, as_tower, first_tokens, grid_of, on_grid, texts_of_each, wide
from pipeline.towers.block import Block
from pipeline.towers.tower import Tower

# Half precision would lose derivatives as small as these are: they are taken of the score times so
# much, and divided by it after.
RAISED = 2.0**10


@dataclass(frozen=True)
class Layer:
    """One block of a differentiable pass; all tensors hang together in its graph.

    Attributes:
        x: the residual stream before the block.
        y: x normalised, as queries, keys and values are made of it.
        q: queries.
        k: keys.
        v: values.
        a: attention probabilities.
        o: heads' outputs.
    """

    x: Float[Tensor, "image token d_model"]
    y: Float[Tensor, "image token d_model"]
    q: Float[Tensor, "image n_heads token d_head"]
    k: Float[Tensor, "image n_heads token d_head"]
    v: Float[Tensor, "image n_heads token d_head"]
    a: Float[Tensor, "image n_heads token token"]
    o: Float[Tensor, "image n_heads token d_head"]


@dataclass(frozen=True)
class Pass:
    """A differentiable pass.

    Attributes:
        layers: in order.
        embedding: unit norm.
    """

    layers: tuple[Layer, ...]
    embedding: Float[Tensor, "image d_joint"]


@contextmanager
def differentiable() -> Iterator[None]:
    """Switch gradients on, also inside `torch.inference_mode`."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def usable(x: Tensor) -> Tensor:
    """Return a tensor that autograd accepts: a copy, if it was made in inference mode."""
    return x.clone() if x.is_inference() else x.detach()


def forward(visual: Tower | nn.Module, pixels: Float[Tensor, "image 3 h w"]) -> Pass:
    """Run the image encoder so that the embedding can be differentiated by each layer's parts.

    To be called inside `differentiable`.
    """
    tower = as_tower(visual)
    x = first_tokens(tower, usable(pixels)).detach().requires_grad_()
    layers, x = through(tower.blocks, x)
    return Pass(layers, bl.embedding(tower, x))


def through(
    blocks: Sequence[Block], x: Float[Tensor, "image token d_model"]
) -> tuple[tuple[Layer, ...], Float[Tensor, "image token d_model"]]:
    """Return what each block computes of a residual stream, and the last one's."""
    layers = []
    for block in blocks:
        y = block.norm(x)
        q, k, v = block.project(y, None)
        a = block.alpha(q, k)
        o = block.gated(a @ v, y)
        layers.append(Layer(x, y, q, k, v, a, o))
        x = bl.add(block, x, o)
    return tuple(layers), x


def scores(found: Pass, texts: Float[Tensor, "*image text d_joint"]) -> Float[Tensor, "text image"]:
    """Return the cosines to be explained, a row for each text, for `gradients` to go through."""
    each = texts_of_each(usable(texts), len(found.embedding)).to(found.embedding.dtype)
    return (found.embedding[:, None] * each).sum(dim=-1).T


def gradients(score: Float[Tensor, " image"], by: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the derivatives of each picture's score; the graph is kept for the next text.

    A picture's score depends on its own tensors alone, so the batch's sum is differentiated. At
    least single precision.
    """
    raised = RAISED if any(x.dtype == torch.float16 for x in by) else 1.0
    found = torch.autograd.grad(score.sum() * raised, by, retain_graph=True)
    return tuple(wide(slope) / raised for slope in found)


def each_text(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    row: Callable[[Pass, Tensor], Tensor],
) -> Maps:
    """Return `row(pass, cosine)`, [image, token] with the class token first, for each text."""
    grid = grid_of(tower, pixels)
    with differentiable():
        found = forward(tower, pixels)
        rows = [row(found, score).detach() for score in scores(found, texts)]
        embedding = found.embedding.detach()
    return Maps(on_grid(torch.stack(rows, dim=1)[..., tower.prefix :], grid), embedding)
