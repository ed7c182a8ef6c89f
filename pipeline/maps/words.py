"""Text-side maps: which words of a prompt decide its similarity with a picture.

The text transformer is walked as the image encoder is, differentiably, with its causal mask. Its
embedding is read at the end-of-text token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.maps import blocks as bl
from pipeline.maps import graph
from pipeline.maps.base import unit, wide
from pipeline.maps.methods.gradient import channel_relevance, relevance
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


def bimodal_words(
    clip: Any, tokens: Int[Tensor, "text token"], images: Float[Tensor, "image d_joint"]
) -> WordMaps:
    """Return Chefer's bi-modal map of the prompts: R ← R + mean_h(∇A ⊙ A)⁺ R, row end-of-text.

    Args:
        clip: open_clip's model, with a plain text transformer.
        tokens: prompts as token ids.
        images: unit-norm embeddings of pictures.

    Raises:
        UnsupportedModel: the text encoder is another.
    """

    def row(found: _TextPass, score: Tensor) -> Tensor:
        r = relevance(score, [layer.a for layer in found.layers])
        return r[torch.arange(len(r), device=r.device), found.ends]

    return _each_image(clip, tokens, images, row)


def grad_eclip_words(
    clip: Any, tokens: Int[Tensor, "text token"], images: Float[Tensor, "image d_joint"]
) -> WordMaps:
    """Return Grad-ECLIP of the prompts, at the end-of-text token of the last layer.

    λ is min-maxed over each prompt's own words. Arguments and errors as `bimodal_words`.
    """

    def row(found: _TextPass, score: Tensor) -> Tensor:
        last = found.layers[-1]
        (slope,) = graph.gradients(score, [last.o])
        rows = []
        for i, end in enumerate(found.ends.tolist()):
            one = slice(i, i + 1)
            rows.append(
                channel_relevance(
                    slope[one, :, end],
                    last.q[one, :, end],
                    last.k[one],
                    last.v[one],
                    slice(1, max(end, 2)),
                )
            )
        return torch.cat(rows)

    return _each_image(clip, tokens, images, row)


@dataclass(frozen=True)
class _TextPass:
    layers: tuple[graph.Layer, ...]
    ends: Int[Tensor, " text"]
    embedding: Float[Tensor, "text d_joint"]


def _forward(clip: Any, tokens: Int[Tensor, "text token"]) -> _TextPass:
    if not hasattr(clip, "token_embedding") or clip.text_pool_type != "argmax":
        raise UnsupportedModel(
            "this model's text encoder is no plain CLIP transformer that is read at its "
            "end-of-text token; maps of words need one"
        )
    dtype = clip.transformer.get_cast_dtype()
    x = clip.token_embedding(tokens).to(dtype)
    x = (x + clip.positional_embedding[: tokens.shape[1]].to(dtype)).detach().requires_grad_()
    mask = clip.attn_mask[: tokens.shape[1], : tokens.shape[1]].to(x)
    layers = []
    for block in clip.transformer.resblocks:
        y = block.ln_1(x)
        q, k, v = bl.project(block, y)
        a = bl.attention(q, k, mask)
        o = a @ v
        layers.append(graph.Layer(x, y, q, k, v, a, o))
        x = bl.add_mlp(block, x + bl.merge_heads(block, o))
    ends = tokens.argmax(dim=-1)
    state = clip.ln_final(x)[torch.arange(len(x), device=x.device), ends]
    return _TextPass(tuple(layers), ends, unit(wide(state @ clip.text_projection)))


def _each_image(
    clip: Any,
    tokens: Int[Tensor, "text token"],
    images: Float[Tensor, "image d_joint"],
    row: Callable[[_TextPass, Tensor], Tensor],
) -> WordMaps:
    with graph.differentiable():
        found = _forward(clip, graph.usable(tokens))
        scores = graph.usable(images).to(found.embedding.dtype) @ found.embedding.T
        rows = torch.stack([row(found, score).detach() for score in scores])
    place = torch.arange(tokens.shape[1], device=rows.device)
    words = (place >= 1) & (place < found.ends[:, None])
    return WordMaps(rows * words, found.ends, found.embedding.detach())
