"""timm's EVA: EVA01, EVA02 (with a LayerNorm inside the attention, or after it), and Meta's
Perception Encoder (rotary positions, attention pool).
"""

from collections.abc import Callable
from typing import Any

from timm.models.eva import Eva, EvaBlock, EvaBlockPostNorm
from torch import Tensor, nn

from pipeline.towers.block import Block
from pipeline.towers.families.timm_vit import post_norm_mlp, pre_norm_mlp
from pipeline.towers.timm_parts import (
    EVA,
    check_attention,
    grid_of_trunk,
    maybe_norm,
    timm_block,
    timm_readout,
    trunk_of,
)
from pipeline.towers.tower import Refused, Tower


class TimmEva:
    """The family of `timm.models.eva.Eva`."""

    name = "timm EVA"

    def claims(self, visual: Any) -> bool:
        """Whether open_clip's timm model has exactly that trunk."""
        return trunk_of(visual, Eva) is not None

    def tower(self, visual: Any) -> Tower:
        """Say where things are."""
        trunk = visual.trunk
        grid = grid_of_trunk(visual)
        readout = timm_readout(visual, trunk.num_prefix_tokens)

        def embed(pixels: Tensor) -> Tensor:
            return trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(pixels))[0])

        return Tower(
            family=self.name,
            visual=visual,
            embed=embed,
            blocks=tuple(_block(b, i, _rope(trunk, i, grid)) for i, b in enumerate(trunk.blocks)),
            readout=readout,
            prefix=trunk.num_prefix_tokens,
            grid=grid,
            d_model=trunk.embed_dim,
            d_joint=readout.width(trunk.embed_dim),
        )


def _rope(trunk: Any, layer: int, grid: tuple[int, int]) -> Callable[[], Tensor] | None:
    """Return how the rotary positions of a layer are had: they depend on the grid alone."""
    if trunk.rope is None:
        return None

    def rope() -> Tensor:
        if hasattr(trunk.rope, "feat_shape") and not trunk.dynamic_img_size:
            found = trunk.rope.get_embed()
        else:
            found = trunk.rope.get_embed(shape=grid)
        return found[layer] if trunk.rope_mixed else found

    return rope


def _block(block: Any, index: int, rope: Callable[[], Tensor] | None) -> Block:
    check_attention(block.attn, index, EVA)
    norm1, norm2 = maybe_norm(block.norm1, index), maybe_norm(block.norm2, index)
    if norm1 is None or norm2 is None:
        raise Refused(f"layer {index} has no LayerNorm")
    if type(block) is EvaBlock:
        mlp = pre_norm_mlp(block, block.gamma_2)
        return timm_block(block, index, mlp=mlp, norm=norm1, gain=block.gamma_1, rope=rope)
    if type(block) is EvaBlockPostNorm:
        mlp = post_norm_mlp(block)
        return timm_block(block, index, mlp=mlp, norm=nn.Identity(), post=norm1, rope=rope)
    raise Refused(f"{type(block).__name__} in layer {index}: expected EvaBlock")


FAMILY = TimmEva()
