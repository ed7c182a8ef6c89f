"""CLIP Surgery (arXiv 2304.05653): a second path of value-value attention, and feature surgery."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, as_tower, check_labels, first_tokens, grid_of, on_grid
from pipeline.maps.method import CLASS_TOKEN, map_method
from pipeline.towers.tower import Tower

# Blocks that the second path goes through.
DEPTH = 6
# Factor of the cosines in feature surgery's softmax over labels.
SHARPNESS = 2.0

SelfAttention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""q, k, v [image, head, token, d_head] and normalised h [image, token, d_model] to outputs."""


@map_method(
    "surgery",
    title="CLIP Surgery",
    shows="cosines after a second path of v-v attention, no MLP, through the last 6 blocks",
    source="arXiv 2304.05653",
    towers=CLASS_TOKEN,
)
def surgery(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return cosines of image tokens after the second path. `labels` is not used."""
    features, embedding = second_path(tower, pixels, value_value)
    return Maps(on_grid(bl.cosines(tower, features, texts), grid_of(tower, pixels)), embedding)


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
    tower: Tower,
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
    features, embedding = second_path(tower, pixels, value_value)
    similar = bl.cosines(tower, features, texts)
    common = bl.cosines(tower, features, labels)
    if len(labels) > 1:
        to_labels = embedding @ labels.to(embedding.dtype).T
        # subtracting the largest cosine changes no weight and keeps exp in range
        top = to_labels.amax(dim=-1, keepdim=True)
        mean = torch.exp(SHARPNESS * (to_labels - top)).mean(dim=-1, keepdim=True)
        to_texts = (embedding[:, None] @ texts.to(embedding.dtype).mT)[:, 0]
        similar = similar * (torch.exp(SHARPNESS * (to_texts - top)) / mean)[..., None]
        common = common * (torch.exp(SHARPNESS * (to_labels - top)) / mean)[..., None]
    values = similar - common.mean(dim=1, keepdim=True)
    return Maps(on_grid(values, grid_of(tower, pixels)), embedding)


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
    tower: Tower | nn.Module,
    pixels: Float[Tensor, "image 3 height width"],
    operator: SelfAttention,
    depth: int = DEPTH,
) -> tuple[Float[Tensor, "image token d_joint"], Float[Tensor, "image d_joint"]]:
    """Return unit-norm token features of the second path, and the embedding of the first.

    The paths part `depth` blocks before the end (all blocks, if there are fewer). The second adds
    only `operator`'s attention, read from the first path's tokens: no MLP. Its class token is the
    first path's.
    """
    tower = as_tower(tower)
    parting = max(0, tower.n_layers - depth)
    h = first_tokens(tower, pixels)
    other = h
    for layer, block in enumerate(tower.blocks):
        if layer == parting:
            other = h
        if layer >= parting:
            y = block.norm(h)
            q, k, v = block.project(y, None)
            other = other + block.write(operator(q, k, v, y)).update
        h = bl.first_after(block, h) if layer == tower.n_layers - 1 else block.after(h)
    features = bl.to_joint(tower, torch.cat([h, other[:, 1:]], dim=1))
    return features, features[:, 0]
