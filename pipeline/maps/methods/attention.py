"""Raw attention, the same for every text."""

from jaxtyping import Float
from open_clip.transformer import VisionTransformer
from torch import Tensor

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, first_tokens, for_all_texts
from pipeline.maps.method import CLASS_TOKEN, map_method


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
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return the last layer's attention of the class token, mean over heads.

    `labels` is not used, and of `texts` only the number.
    """
    x = bl.before_last(visual, first_tokens(visual, pixels))
    block = visual.transformer.resblocks[-1]
    q, k, v = bl.project(block, block.ln_1(x))
    row = bl.attention(q[:, :, :1], k).mean(dim=1)[:, 0]
    embedding = bl.to_joint(visual, bl.class_after(block, x, q, k, v)[:, 0])
    return for_all_texts(visual, pixels, texts, row, embedding)
