"""timm's plain ViT: SigLIP, ViTamin, MobileCLIP-B and own configs; blocks with the norm first or
after (ResPostBlock), whatever embeds the picture.
"""

from typing import Any

from timm.layers.layer_scale import LayerScale
from timm.models.vision_transformer import Block as PreNormBlock
from timm.models.vision_transformer import ResPostBlock, VisionTransformer
from torch import Tensor, nn

from pipeline.towers.block import Block
from pipeline.towers.timm_parts import (
    PLAIN,
    check_attention,
    grid_of_trunk,
    maybe_norm,
    timm_block,
    timm_readout,
    trunk_of,
)
from pipeline.towers.tower import Refused, Tower


class TimmViT:
    """The family of `timm.models.vision_transformer.VisionTransformer`."""

    name = "timm ViT"

    def claims(self, visual: Any) -> bool:
        """Whether open_clip's timm model has exactly that trunk."""
        return trunk_of(visual, VisionTransformer) is not None

    def tower(self, visual: Any) -> Tower:
        """Say where things are."""
        trunk = visual.trunk
        readout = timm_readout(visual, trunk.num_prefix_tokens)

        def embed(pixels: Tensor) -> Tensor:
            return trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(pixels)))

        return Tower(
            family=self.name,
            visual=visual,
            embed=embed,
            blocks=tuple(_block(block, index) for index, block in enumerate(trunk.blocks)),
            readout=readout,
            prefix=trunk.num_prefix_tokens,
            grid=grid_of_trunk(visual),
            d_model=trunk.embed_dim,
            d_joint=readout.width(trunk.embed_dim),
        )


def _block(block: Any, index: int) -> Block:
    check_attention(block.attn, index, PLAIN)
    norm1, norm2 = maybe_norm(block.norm1, index), maybe_norm(block.norm2, index)
    if norm1 is None or norm2 is None:
        raise Refused(f"layer {index} has no LayerNorm")
    if type(block) is PreNormBlock:
        gains = [timm_gain(scale, index) for scale in (block.ls1, block.ls2)]
        return timm_block(
            block, index, mlp=pre_norm_mlp(block, gains[1]), norm=norm1, gain=gains[0]
        )
    if type(block) is ResPostBlock:
        return timm_block(block, index, mlp=post_norm_mlp(block), norm=nn.Identity(), post=norm1)
    raise Refused(f"{type(block).__name__} in layer {index}: expected Block or ResPostBlock")


def timm_gain(scale: Any, index: int) -> Tensor | None:
    """Return λ of a LayerScale, or None for none."""
    if type(scale) is nn.Identity:
        return None
    if type(scale) is LayerScale:
        return scale.gamma
    raise Refused(f"{type(scale).__name__} in layer {index} is no LayerScale")


def pre_norm_mlp(block: Any, gain: Tensor | None) -> Any:
    """Return what the MLP adds, its norm first."""

    def mlp(x: Tensor) -> Tensor:
        added = block.mlp(block.norm2(x))
        return added if gain is None else added * gain

    return mlp


def post_norm_mlp(block: Any) -> Any:
    """Return what the MLP adds, its norm last."""

    def mlp(x: Tensor) -> Tensor:
        return block.norm2(block.mlp(x))

    return mlp


FAMILY = TimmViT()
