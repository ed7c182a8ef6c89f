"""CLIP Surgery (arXiv 2304.05653): a second path of value-value attention, and feature surgery."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, check_labels, first_tokens, grid_of, on_grid
from pipeline.maps.method import CLASS_TOKEN, map_method

# Blocks that the second path goes through.
DEPTH = 6
# Factor of the cosines in feature surgery's softmax over labels.
SHARPNESS = 2.0

SelfAttention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""q, k, v [image, head, token, d_head] and ln_1(h) [image, token, d_model] to heads' outputs."""


@map_method(
    "surgery",
    title="CLIP Surgery",
    shows="cosines after a second path of v-v attention, no MLP, through the last 6 blocks",
    source="arXiv 2304.05653",
    towers=CLASS_TOKEN,
)
def surgery(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return cosines of image tokens after the second path. `labels` is not used."""
    features, embedding = second_path(visual, pixels, value_value)
    return Maps(on_grid(bl.cosines(features, texts), grid_of(visual, pixels)), embedding)


@map_method(
    "surgery-features",
    title="CLIP Surgery, features",
    shows="`surgery` without what all texts share: w_t ⟨f_i, t⟩ − mean_k w_k ⟨f_i, t_k⟩",
    source="arXiv 2304.05653",
    signed=True,
    towers=CLASS_TOKEN,
    alone=("",),
)
def feature_surgery(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return w_t ⟨f_i, t⟩ − mean_k w_k ⟨f_i, t_k⟩ over the labels k, after the second path.

    w is softmax(2 ⟨f_cls, t_k⟩) over the labels, divided by its mean. With a single label, which
    should be the empty text's embedding, the map is ⟨f_i, t − label⟩.

    Raises:
        UsageError: the only label is the text itself: the map would be zero everywhere.
    """
    check_labels(texts, labels)
    features, embedding = second_path(visual, pixels, value_value)
    similar = bl.cosines(features, texts)
    common = bl.cosines(features, labels)
    if len(labels) > 1:
        to_labels = embedding @ labels.to(embedding.dtype).T
        # subtracting the largest cosine changes no weight and keeps exp in range
        top = to_labels.amax(dim=-1, keepdim=True)
        mean = torch.exp(SHARPNESS * (to_labels - top)).mean(dim=-1, keepdim=True)
        to_texts = (embedding[:, None] @ texts.to(embedding.dtype).mT)[:, 0]
        similar = similar * (torch.exp(SHARPNESS * (to_texts - top)) / mean)[..., None]
        common = common * (torch.exp(SHARPNESS * (to_labels - top)) / mean)[..., None]
    values = similar - common.mean(dim=1, keepdim=True)
    return Maps(on_grid(values, grid_of(visual, pixels)), embedding)


def surgery_scores(
    embedding: Float[Tensor, "image d_joint"], labels: Float[Tensor, "label d_joint"]
) -> Float[Tensor, "image label"]:
    """Return w_k ⟨f_cls, t_k⟩ − mean_k(w_k ⟨f_cls, t_k⟩): multi-label scores of whole pictures."""
    cosine = embedding @ labels.to(embedding.dtype).T
    p = (SHARPNESS * cosine).softmax(dim=-1)
    weighted = cosine * p / p.mean(dim=-1, keepdim=True)
    return weighted - weighted.mean(dim=-1, keepdim=True)


def value_value(q: Tensor, k: Tensor, v: Tensor, y: Tensor) -> Tensor:
    """Return softmax(s V Vᵀ) V."""
    return bl.attention(v, v) @ v


def second_path(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    operator: SelfAttention,
    depth: int = DEPTH,
) -> tuple[Float[Tensor, "image token d_joint"], Float[Tensor, "image d_joint"]]:
    """Return unit-norm token features of the second path, and the embedding of the first.

    The paths part `depth` blocks before the end (all blocks, if there are fewer). The second adds
    only `operator`'s attention, read from the first path's tokens: no MLP. Its class token is the
    first path's.
    """
    layers = visual.transformer.resblocks
    parting = max(0, len(layers) - depth)
    h = first_tokens(visual, pixels)
    other = h
    for layer, block in enumerate(layers):
        y = block.ln_1(h)
        q, k, v = bl.project(block, y)
        if layer == parting:
            other = h
        if layer >= parting:
            other = other + bl.merge_heads(block, operator(q, k, v, y))
        if layer == len(layers) - 1:
            h = bl.class_after(block, h, q, k, v)
        else:
            o = F.scaled_dot_product_attention(q, k, v)
            h = bl.add_mlp(block, h + bl.merge_heads(block, o))
    features = bl.to_joint(visual, torch.cat([h, other[:, 1:]], dim=1))
    return features, features[:, 0]
