"""Grad-ECLIP (ICML 2024), of the picture and of the words of a text."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from pipeline.maps import graph, words
from pipeline.maps.base import Maps, wide
from pipeline.maps.method import CLASS_TOKEN, map_method
from pipeline.towers.tower import Tower


def grad_eclip_words(
    clip: Any, tokens: Int[Tensor, "text token"], images: Float[Tensor, "image d_joint"]
) -> words.WordMaps:
    """Return Grad-ECLIP of the prompts, at the end-of-text token of the last layer.

    λ is min-maxed over all positions of the context, padding among them, as the published code
    does: the only word, or the one least like the query, keeps its weight.

    Args:
        clip: open_clip's model, with a plain text transformer.
        tokens: prompts as token ids.
        images: unit-norm embeddings of pictures.

    Raises:
        UnsupportedModel: the text encoder is another.
    """

    def row(found: words.TextPass, score: Tensor) -> Tensor:
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
                    slice(None),
                )
            )
        return torch.cat(rows)

    return words.each_image(clip, tokens, images, row)


@map_method(
    "grad-eclip",
    title="Grad-ECLIP",
    shows="ReLU(Σ_c g_c v_ic λ_i) in the last layer: gradient × values × cosine of query and "
    "keys; also for the words of the text",
    source="ICML 2024",
    needs="gradient",
    towers=CLASS_TOKEN,
    words=grad_eclip_words,
)
def grad_eclip(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return ReLU(Σ_c g_c v_ic λ_i) in the last layer.

    g = ∂y/∂(attention output at the class token), λ = minmax_i cos(q_cls, k_i) over image tokens,
    all heads side by side. `labels` is not used.
    """

    def row(found: graph.Pass, score: Tensor) -> Tensor:
        last = found.layers[-1]
        (slope,) = graph.gradients(score, [last.o])
        image = slice(tower.prefix, None)
        return channel_relevance(slope[:, :, 0], last.q[:, :, 0], last.k, last.v, image)

    return graph.each_text(tower, pixels, texts, row)


def channel_relevance(
    slope: Float[Tensor, "image n_heads d_head"],
    query: Float[Tensor, "image n_heads d_head"],
    k: Float[Tensor, "image n_heads token d_head"],
    v: Float[Tensor, "image n_heads token d_head"],
    among: slice,
) -> Float[Tensor, "image token"]:
    """Return ReLU(Σ_c g_c v_ic λ_i), with λ the cosine of query and key, min-maxed over `among`."""
    keys = wide(k).transpose(1, 2).flatten(2)
    near = F.cosine_similarity(wide(query).flatten(1)[:, None], keys, dim=-1)
    low = near[:, among].amin(dim=-1, keepdim=True)
    high = near[:, among].amax(dim=-1, keepdim=True)
    loose = (near - low) / (high - low).clamp_min(torch.finfo(near.dtype).tiny)
    return (torch.einsum("bhd,bhid->bi", slope, wide(v)) * loose).relu()
