"""Text-side maps: which words of a prompt decide its similarity with a picture.

The text transformer is walked as the image encoder is, differentiably, with its causal mask. Its
embedding is read at the end-of-text token.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.maps import graph
from pipeline.maps.base import unit, wide
from pipeline.towers.families.own import block_of
from schemas.errors import UnsupportedModel


@dataclass(frozen=True)
class WordMaps:
    """Relevance of each token of each prompt for each picture.

    Attributes:
        values: 0 at the start token, at and after the end-of-text token.
        ends: position of each prompt's end-of-text token.
        embedding: of the prompts, unit norm: equal to `encode_text`.
    """

    values: Float[Tensor, "image text token"]
    ends: Int[Tensor, " text"]
    embedding: Float[Tensor, "text d_joint"]


@dataclass(frozen=True)
class TextPass:
    """A differentiable pass of the text transformer.

    Attributes:
        layers: in order.
        ends: position of each prompt's end-of-text token.
        embedding: unit norm.
    """

    layers: tuple[graph.Layer, ...]
    ends: Int[Tensor, " text"]
    embedding: Float[Tensor, "text d_joint"]


def forward(clip: Any, tokens: Int[Tensor, "text token"]) -> TextPass:
    """Run the text transformer so that the embedding can be differentiated by each layer's parts.

    Raises:
        UnsupportedModel: it is no plain CLIP transformer.
    """
    if not hasattr(clip, "token_embedding") or clip.text_pool_type != "argmax":
        raise UnsupportedModel(
            "this model's text encoder is no plain CLIP transformer that is read at its "
            "end-of-text token; maps of words need one"
        )
    dtype = clip.transformer.get_cast_dtype()
    x = clip.token_embedding(tokens).to(dtype)
    x = (x + clip.positional_embedding[: tokens.shape[1]].to(dtype)).detach().requires_grad_()
    mask = clip.attn_mask[: tokens.shape[1], : tokens.shape[1]].to(x)
    blocks = [
        replace(block_of(block, index), mask=lambda: mask)
        for index, block in enumerate(clip.transformer.resblocks)
    ]
    layers, x = graph.through(blocks, x)
    ends = tokens.argmax(dim=-1)
    state = clip.ln_final(x)[torch.arange(len(x), device=x.device), ends]
    return TextPass(layers, ends, unit(wide(state @ clip.text_projection)))


def each_image(
    clip: Any,
    tokens: Int[Tensor, "text token"],
    images: Float[Tensor, "image d_joint"],
    row: Callable[[TextPass, Tensor], Tensor],
) -> WordMaps:
    """Return `row(pass, cosine)`, [text, token], for each picture; what is no word becomes 0.

    Raises:
        UnsupportedModel: the text encoder is no plain CLIP transformer.
    """
    with graph.differentiable():
        found = forward(clip, graph.usable(tokens))
        scores = graph.usable(images).to(found.embedding.dtype) @ found.embedding.T
        rows = torch.stack([row(found, score).detach() for score in scores])
    place = torch.arange(tokens.shape[1], device=rows.device)
    words = (place >= 1) & (place < found.ends[:, None])
    # a number, and never −0, where there is no word
    return WordMaps(torch.where(words, rows, 0) + 0.0, found.ends, found.embedding.detach())
