"""Maps that read the last image tokens as if each were an embedding: plain CLIP, and RCLIP."""

from jaxtyping import Float
from open_clip.transformer import VisionTransformer
from torch import Tensor

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, first_tokens, grid_of, on_grid
from pipeline.maps.method import map_method
from pipeline.maps.shared import min_max


@map_method(
    "tokens",
    title="plain tokens",
    shows="cosine of each projected image token and t",
    source="CLIP, arXiv 2103.00020",
)
def tokens(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return cos(proj(ln_post(z_i)), t) of each image token's last state. `labels` is not used.

    CLIP never trained these tokens to mean anything: the background often scores higher than the
    object (CLIP Surgery, arXiv 2304.05653, section 3).
    """
    features, embedding = token_features(visual, pixels)
    return Maps(on_grid(bl.cosines(features, texts), grid_of(visual, pixels)), embedding)


def token_features(
    visual: VisionTransformer, pixels: Float[Tensor, "image 3 height width"]
) -> tuple[Float[Tensor, "image token d_joint"], Float[Tensor, "image d_joint"]]:
    """Return every token's last state as if it were an embedding, and the embedding; unit norm."""
    x = first_tokens(visual, pixels)
    for block in visual.transformer.resblocks:
        x = bl.after(block, x)
    pooled = x[:, 1:].mean(dim=1) if visual.pool_type == "avg" else x[:, 0]
    return bl.to_joint(visual, x), bl.to_joint(visual, pooled)


@map_method(
    "rclip", title="RCLIP", shows="one minus `tokens`, min-maxed", source="arXiv 2209.07046"
)
def reversed_tokens(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return RCLIP: 1 − minmax of the plain map (ECLIP, arXiv 2209.07046). `labels` is not used."""
    plain = tokens(visual, pixels, texts, labels)
    return Maps(1 - min_max(plain.values), plain.embedding)
