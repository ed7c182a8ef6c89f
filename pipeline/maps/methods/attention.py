"""Raw attention, the same for every text."""

from jaxtyping import Float
from torch import Tensor

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, first_tokens, for_all_texts
from pipeline.maps.method import CLASS_TOKEN, map_method
from pipeline.towers.tower import Tower


@map_method(
    "attention",
    title="raw attention",
    shows="last layer's attention of the class token, mean over heads",
    source="last layer, mean of heads",
    by_text=False,
    needs="attention",
    towers=CLASS_TOKEN,
)
def raw_attention(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return the last layer's attention of the class token, mean over heads.

    `labels` is not used, and of `texts` only the number.
    """
    x = bl.before_last(tower, first_tokens(tower, pixels))
    block = tower.blocks[-1]
    q, k, _ = block.qkv(x, 1)
    row = block.alpha(q, k).mean(dim=1)[:, 0]
    embedding = bl.embedding(tower, bl.first_after(block, x))
    return for_all_texts(tower, pixels, texts, row, embedding)
