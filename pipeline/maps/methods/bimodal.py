"""Chefer's bi-modal method (ICCV 2021), of the picture and of the words of a text.

R ← R + mean_h(∇A ⊙ A)⁺ R. R is not linear in the score when there are several layers, so that the
logit's scale matters: the published code differentiates the logit, and takes the last layer alone.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.maps import graph, words
from pipeline.maps.base import Maps, wide
from pipeline.maps.method import (
    CLASS_TOKEN,
    Option,
    among,
    count_or_all,
    logit_scale_of,
    map_method,
)
from pipeline.towers.tower import Tower

Score = Literal["logit", "cosine"]


def bimodal_words(
    clip: Any,
    tokens: Int[Tensor, "text token"],
    images: Float[Tensor, "image d_joint"],
    layers: int | None = 1,
    score: Score = "logit",
) -> words.WordMaps:
    """Return the map of the prompts: R, row end-of-text.

    Args:
        clip: open_clip's model, with a plain text transformer.
        tokens: prompts as token ids.
        images: unit-norm embeddings of pictures.
        layers: the last so many; None: all.
        score: what is differentiated.

    Raises:
        UnsupportedModel: the text encoder is another.
    """
    scale = logit_scale_of(clip) if score == "logit" else 1.0

    def row(found: words.TextPass, cosine: Tensor) -> Tensor:
        r = relevance(scale * cosine, [layer.a for layer in found.layers[-(layers or 0) :]])
        return r[torch.arange(len(r), device=r.device), found.ends]

    return words.each_image(clip, tokens, images, row)


@map_method(
    "chefer-bimodal",
    title="Chefer bi-modal",
    shows="R ← R + mean_h(∇A ⊙ A)⁺ R, row cls; also for the words of the text",
    source="arXiv 2103.15679",
    needs="gradient",
    towers=CLASS_TOKEN,
    options=(
        Option("layers", "1", count_or_all, "the last so many layers, or all"),
        Option("score", "logit", among("logit", "cosine"), "what is differentiated: logit, cosine"),
    ),
    words=bimodal_words,
)
def bimodal(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    *,
    layers: int | None,
    score: Score,
    logit_scale: float,
) -> Maps:
    """Return R ← R + mean_h(∇A ⊙ A)⁺ R, row cls. `labels` is not used."""
    scale = logit_scale if score == "logit" else 1.0

    def row(found: graph.Pass, cosine: Tensor) -> Tensor:
        of = found.layers[-(layers or 0) :]
        return relevance(scale * cosine, [layer.a for layer in of])[:, 0]

    return graph.each_text(tower, pixels, texts, row)


def relevance(
    score: Float[Tensor, " image"], attentions: list[Tensor]
) -> Float[Tensor, "image token token"]:
    """Return R after these layers of R ← R + mean_h(∇A ⊙ A)⁺ R, from the identity."""
    a = wide(attentions[0])
    r = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand(len(a), -1, -1)
    for a, slope in zip(attentions, graph.gradients(score, attentions), strict=True):
        r = r + (slope * a).relu().mean(dim=1) @ r
    return r
