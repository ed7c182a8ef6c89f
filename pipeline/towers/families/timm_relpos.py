"""timm's ViT with relative positions: they only change how heads attend."""

from typing import Any

import torch
from timm.models.vision_transformer_relpos import (
    RelPosAttention,
    RelPosBlock,
    ResPostRelPosBlock,
    VisionTransformerRelPos,
)
from torch import Tensor, nn

from pipeline.towers.block import Block
from pipeline.towers.families.timm_vit import post_norm_mlp, pre_norm_mlp, timm_gain
from pipeline.towers.timm_parts import check_attention, timm_block, timm_readout, trunk_of
from pipeline.towers.tower import Refused, Tower


class TimmRelPos:
    """The family of `timm.models.vision_transformer_relpos.VisionTransformerRelPos`."""

    name = "timm ViT with relative positions"

    def claims(self, visual: Any) -> bool:
        """Whether open_clip's timm model has exactly that trunk."""
        return trunk_of(visual, VisionTransformerRelPos) is not None

    def tower(self, visual: Any) -> Tower:
        """Say where things are."""
        trunk = visual.trunk
        readout = timm_readout(visual, trunk.num_prefix_tokens)

        def embed(pixels: Tensor) -> Tensor:
            x = trunk.patch_embed(pixels)
            if trunk.cls_token is None:
                return x
            return torch.cat((trunk.cls_token.expand(len(x), -1, -1).to(x.dtype), x), dim=1)

        return Tower(
            family=self.name,
            visual=visual,
            embed=embed,
            blocks=tuple(_block(b, i, trunk.shared_rel_pos) for i, b in enumerate(trunk.blocks)),
            readout=readout,
            prefix=trunk.num_prefix_tokens,
            grid=tuple(trunk.patch_embed.grid_size),
            d_model=trunk.embed_dim,
            d_joint=readout.width(trunk.embed_dim),
        )


def _block(block: Any, index: int, shared: Any) -> Block:
    check_attention(block.attn, index, (RelPosAttention,))
    position = shared if block.attn.rel_pos is None else block.attn.rel_pos
    mask = None if position is None else position.get_bias
    if type(block) is RelPosBlock:
        gains = [timm_gain(scale, index) for scale in (block.ls1, block.ls2)]
        mlp = pre_norm_mlp(block, gains[1])
        return timm_block(block, index, mlp=mlp, norm=block.norm1, gain=gains[0], mask=mask)
    if type(block) is ResPostRelPosBlock:
        mlp = post_norm_mlp(block)
        return timm_block(block, index, mlp=mlp, norm=nn.Identity(), post=block.norm1, mask=mask)
    raise Refused(f"{type(block).__name__} in layer {index}: expected RelPosBlock")


FAMILY = TimmRelPos()
