"""The paper's maps: direct contributions split by image token, as numbers for each text.

c_{i,l,h} = α_i v_i · T^{l,h} / σ is what head h of layer l adds to the embedding from token i
(Gandelsman et al., ICLR 2024, section 5; DESIGN §2). A map is Σ_{l,h} ⟨c_{i,l,h}, t − mean_k t_k⟩
over the label set k. The texts go through T first, so a layer costs one product of [token, d_model]
with [d_model, text]; nothing of size [layer, token, head, d_joint] is ever made.
"""

from collections.abc import Callable, Collection, Sequence

import torch
from jaxtyping import Bool, Float
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from pipeline.maps import blocks as bl
from pipeline.maps.base import (
    Maps,
    check_labels,
    check_texts,
    first_tokens,
    grid_of,
    on_grid,
    unit,
    wide,
)
from pipeline.maps.method import map_method

# Numbers of a layer's maps (picture x head x token x text) that are there at a time.
CELLS = 2**24


@map_method(
    "contribution",
    title="contribution",
    shows="Σ over layers and heads of ⟨c_i, t − mean_k t_k⟩",
    source="arXiv 2310.05916",
    signed=True,
    needs="attention",
    unit="cosine",
    by_head=True,
)
def contribution(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    heads: Bool[Tensor, "n_layers n_heads"] | None = None,
) -> Maps:
    """Return the map of each text against the label set's mean; with `heads`, of those alone.

    In units of cosine: the map's sum is what the heads' image tokens add to ⟨embedding, t − mean⟩.

    Raises:
        UsageError: the only label is the text itself: the map would be zero everywhere.
    """
    folded = _folded(visual, pixels, texts, labels)
    grid = grid_of(visual, pixels)
    total = wide(pixels.new_zeros(len(pixels), texts.shape[-2], grid[0] * grid[1]))

    def add(layer: int, alpha: Tensor, v: Tensor) -> None:
        nonlocal total
        if heads is not None:
            alpha = alpha * heads[layer, :, None].to(alpha)
        spread = (alpha[:, :, 1:, None] * v[:, :, 1:]).transpose(1, 2).flatten(2)
        block = visual.transformer.resblocks[layer]
        total = total + (spread @ through_output(block, folded)).mT

    scale, embedding = _scale(visual, _walk(visual, pixels, add))
    return Maps(on_grid(total.to(scale.dtype) * scale[:, None, None], grid), embedding)


def head_contributions(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    heads: Sequence[tuple[int, int]],
) -> Float[Tensor, "head image text grid_h grid_w"]:
    """Return one map for each of `heads`, in their order; they sum to `contribution` of the set.

    Raises:
        UsageError: the only label is the text itself: the maps would be zero everywhere.
    """
    folded = _folded(visual, pixels, texts, labels)
    found: dict[tuple[int, int], Tensor] = {}

    def keep(layer: int, alpha: Tensor, v: Tensor) -> None:
        through = through_output(visual.transformer.resblocks[layer], folded)
        through = through.unflatten(-2, (alpha.shape[1], -1))
        for head in {head for of, head in heads if of == layer}:
            spread = alpha[:, head, 1:, None] * v[:, head, 1:]
            found[layer, head] = (spread @ through[..., head, :, :]).mT

    scale, _ = _scale(visual, _walk(visual, pixels, keep))
    grid = grid_of(visual, pixels)
    return torch.stack(
        [on_grid(found[key].to(scale.dtype) * scale[:, None, None], grid) for key in heads]
    )


def each_layer(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    visit: Callable[[int, slice, Tensor], None],
    layers: Collection[int] | None = None,
    cells: int = CELLS,
) -> Float[Tensor, " image"]:
    """Call `visit` with the maps of all heads, [image, head, token, text], one part at a time.

    A part is a layer and as many texts as make at most `cells` numbers, or one text: `visit` gets
    the layer's number, which texts, and the maps. They lack the factor that is returned, since it
    is known only at the end. Image tokens only; of all layers, or of those in `layers`.
    """
    folded = _folded(visual, pixels, texts, labels)

    def reach(layer: int, alpha: Tensor, v: Tensor) -> None:
        if layers is not None and layer not in layers:
            return
        through = through_output(visual.transformer.resblocks[layer], folded)
        through = through.unflatten(-2, (alpha.shape[1], -1))
        spread = alpha[:, :, 1:, None] * v[:, :, 1:]
        step = max(1, cells // spread[..., 0].numel())
        for start in range(0, through.shape[-1], step):
            some = slice(start, start + step)
            visit(layer, some, spread @ through[..., some])

    return _scale(visual, _walk(visual, pixels, reach))[0]


def fold_texts(
    visual: VisionTransformer, texts: Float[Tensor, "*image text d_joint"]
) -> Float[Tensor, "*image d_model text"]:
    """Return (1 − 11ᵀ/d_model) diag(γ) P t: the texts as directions of the residual stream."""
    directions = visual.proj @ texts.mT.to(visual.proj.dtype)
    if visual.ln_post.weight is not None:
        directions = visual.ln_post.weight[:, None] * directions
    return directions - directions.mean(dim=-2, keepdim=True)


def through_output(
    block: ResidualAttentionBlock, folded: Float[Tensor, "*image d_model text"]
) -> Float[Tensor, "*image d_model text"]:
    """Return W_Oᵀ diag(λ) of folded texts: their numbers for each channel of each head."""
    gain = getattr(block.ls_1, "gamma", None)
    scaled = folded if gain is None else gain[:, None] * folded
    weight = block.attn.out_proj.weight
    return weight.T @ scaled.to(weight.dtype)


def _folded(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Float[Tensor, "*image d_model text"]:
    check_texts(texts, len(pixels))
    check_labels(texts, labels)
    return fold_texts(visual, texts - labels.mean(dim=0))


def _walk(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    visit: Callable[[int, Tensor, Tensor], None],
) -> Float[Tensor, "image d_model"]:
    """Run the image encoder; return the pooled token's last state.

    `visit` is called with each layer's number, the pooled token's attention [image, head, token]
    and the values [image, head, token, d_head].
    """
    x = first_tokens(visual, pixels)
    average = visual.pool_type == "avg"
    last = len(visual.transformer.resblocks) - 1
    for layer, block in enumerate(visual.transformer.resblocks):
        q, k, v = bl.project(block, block.ln_1(x))
        queries = q[:, :, 1:] if average else q[:, :, :1]
        visit(layer, bl.attention(queries, k).mean(dim=2), v)
        if layer == last and not average:
            return bl.class_after(block, x, q, k, v)[:, 0]
        o = F.scaled_dot_product_attention(q, k, v)
        x = bl.add_mlp(block, x + bl.merge_heads(block, o))
    return x[:, 1:].mean(dim=1)


def _scale(
    visual: VisionTransformer, residual: Float[Tensor, "image d_model"]
) -> tuple[Float[Tensor, " image"], Float[Tensor, "image d_joint"]]:
    """Return 1 / (σ · norm) and the unit-norm embedding."""
    joint = visual.ln_post(residual) @ visual.proj
    sigma = (wide(residual).var(dim=-1, correction=0) + visual.ln_post.eps).sqrt()
    joint = wide(joint)
    return 1 / (sigma * joint.norm(dim=-1)), unit(joint)
