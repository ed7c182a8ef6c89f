"""Maps from the gradient of the cosine y = ⟨embedding, t⟩ by attention or activations.

One backward pass for each text. Chefer's method with relevances is in `pipeline.maps.methods.lrp`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from pipeline.maps import blocks as bl
from pipeline.maps import graph
from pipeline.maps.base import (
    Maps,
    first_tokens,
    grid_of,
    need_class_token,
    on_grid,
    texts_of_each,
    wide,
)


def attention_gradcam(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return ReLU(mean_h(mean_i ∇A_h[cls, i] · A_h[cls, i])) of the last layer.

    `labels` is not used.
    """

    def row(found: graph.Pass, score: Tensor) -> Tensor:
        a = found.layers[-1].a
        (slope,) = graph.gradients(score, [a])
        weight = slope[:, :, 0, 1:].mean(dim=-1, keepdim=True)
        return (weight * a[:, :, 0]).mean(dim=1).relu()

    return _each_text(visual, pixels, texts, "attention GradCAM", row)


def activation_gradcam(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return ReLU(Σ_d mean_i(∂y/∂x_id) x_id) with x = ln_1 of the last block (GradCAM).

    After the last attention the gradient of image tokens is zero, hence ln_1. `labels` is not used.
    """

    def row(found: graph.Pass, score: Tensor) -> Tensor:
        y = found.layers[-1].y
        (slope,) = graph.gradients(score, [y])
        weight = slope[:, 1:].mean(dim=1, keepdim=True)
        return (weight * y).sum(dim=-1).relu()

    return _each_text(visual, pixels, texts, "activation GradCAM", row)


def bimodal(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return Chefer's bi-modal map (ICCV 2021): R ← R + mean_h(∇A ⊙ A)⁺ R, row cls.

    `labels` is not used.
    """

    def row(found: graph.Pass, score: Tensor) -> Tensor:
        return relevance(score, [layer.a for layer in found.layers])[:, 0]

    return _each_text(visual, pixels, texts, "Chefer's bi-modal method", row)


def relevance(
    score: Float[Tensor, " image"], attentions: list[Tensor]
) -> Float[Tensor, "image token token"]:
    """Return R after all layers of R ← R + mean_h(∇A ⊙ A)⁺ R, from the identity."""
    a = wide(attentions[0])
    r = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand(len(a), -1, -1)
    for a, slope in zip(attentions, graph.gradients(score, attentions), strict=True):
        r = r + (slope * a).relu().mean(dim=1) @ r
    return r


def grad_eclip(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return Grad-ECLIP (ICML 2024): ReLU(Σ_c g_c v_ic λ_i) in the last layer.

    g = ∂y/∂(attention output at the class token), λ = minmax_i cos(q_cls, k_i), all heads side by
    side. `labels` is not used.
    """

    def row(found: graph.Pass, score: Tensor) -> Tensor:
        last = found.layers[-1]
        (slope,) = graph.gradients(score, [last.o])
        return channel_relevance(slope[:, :, 0], last.q[:, :, 0], last.k, last.v, slice(1, None))

    return _each_text(visual, pixels, texts, "Grad-ECLIP", row)


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


def legrad(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return LeGrad (arXiv 2404.03214): Σ_l mean_{h, query}(∂s_l/∂A_l)⁺[i].

    s_l = cos(t, proj(ln_post(mean of tokens after layer l))). `labels` is not used.
    """
    need_class_token(visual, "LeGrad")
    grid = grid_of(visual, pixels)
    each = texts_of_each(texts, len(pixels))
    with graph.differentiable():
        each = graph.usable(each)
        x = first_tokens(visual, graph.usable(pixels)).detach()
        total = wide(x.new_zeros(each.shape[1], len(x), x.shape[1]))
        for block in visual.transformer.resblocks:
            # s_l depends on A_l through this block alone
            x = x.detach()
            q, k, v = bl.project(block, block.ln_1(x))
            a = bl.attention(q, k).detach().requires_grad_()
            x = bl.add_mlp(block, x + bl.merge_heads(block, a @ v))
            pooled = bl.to_joint(visual, x.mean(dim=1))
            for index in range(each.shape[1]):
                score = (pooled * each[:, index].to(pooled.dtype)).sum(dim=-1)
                (slope,) = graph.gradients(score, [a])
                total[index] += slope.relu().mean(dim=(1, 2))
        embedding = bl.to_joint(visual, x[:, 0]).detach()
    return Maps(on_grid(total.transpose(0, 1)[..., 1:], grid), embedding)


def _each_text(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    method: str,
    row: Callable[[graph.Pass, Tensor], Tensor],
) -> Maps:
    """Return `row(pass, score)`, [image, token] with the class token first, for each text."""
    grid = grid_of(visual, pixels)
    with graph.differentiable():
        found = graph.forward(visual, pixels, method)
        rows = [row(found, score).detach() for score in graph.scores(found, texts)]
        embedding = found.embedding.detach()
    return Maps(on_grid(torch.stack(rows, dim=1)[..., 1:], grid), embedding)
