"""Maps that read the last image tokens as if each were an embedding: plain CLIP, and RCLIP."""

from jaxtyping import Float
from torch import Tensor

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, first_tokens, grid_of, on_grid
from pipeline.maps.method import TOKENS, map_method
from pipeline.maps.shared import min_max
from pipeline.towers.tower import Tower


@map_method(
    "tokens",
    title="plain tokens",
    shows="cosine of each projected image token and t",
    source="CLIP, arXiv 2103.00020",
    towers=TOKENS,
)
def tokens(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return cos(proj(ln_post(z_i)), t) of each image token's last state. `labels` is not used.

    CLIP never trained these tokens to mean anything: the background often scores higher than the
    object (CLIP Surgery, arXiv 2304.05653, section 3).
    """
    features, embedding = token_features(tower, pixels)
    return Maps(on_grid(bl.cosines(tower, features, texts), grid_of(tower, pixels)), embedding)


def token_features(
    tower: Tower, pixels: Float[Tensor, "image 3 height width"]
) -> tuple[Float[Tensor, "image token d_joint"], Float[Tensor, "image d_joint"]]:
    """Return every token's last state as if it were an embedding, and the embedding; unit norm."""
    x = first_tokens(tower, pixels)
    for block in tower.blocks:
        x = block.after(x)
    return bl.to_joint(tower, x), bl.embedding(tower, x)


@map_method(
    "rclip",
    title="RCLIP",
    shows="one minus `tokens`, min-maxed",
    source="arXiv 2209.07046",
    towers=TOKENS,
)
def reversed_tokens(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return RCLIP: 1 − minmax of the plain map (ECLIP, arXiv 2209.07046). `labels` is not used."""
    plain = tokens(tower, pixels, texts, labels)
    return Maps(1 - min_max(plain.values), plain.embedding)
