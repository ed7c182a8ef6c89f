"""open_clip's own vision transformer: plain and custom blocks, every pool but the untested ones."""

from functools import partial
from typing import Any

from open_clip.transformer import (
    Attention,
    AttentionalPooler,
    CustomResidualAttentionBlock,
    LayerScale,
    ResidualAttentionBlock,
    VisionTransformer,
)
from torch import Tensor, nn

from pipeline.towers.block import QKV, Block, joined_qkv, linear_in_wider, split_heads
from pipeline.towers.norms import is_layer_norm
from pipeline.towers.readout import AttentionPool, Readout
from pipeline.towers.tower import Refused, Tower


class OwnViT:
    """The family of `open_clip.transformer.VisionTransformer`."""

    name = "open_clip ViT"

    def claims(self, visual: Any) -> bool:
        """Whether this is exactly that class."""
        return type(visual) is VisionTransformer

    def tower(self, visual: Any) -> Tower:
        """Say where things are."""
        blocks = tuple(block_of(b, i) for i, b in enumerate(visual.transformer.resblocks))
        readout = _readout(visual)
        d_model = visual.conv1.out_channels
        return Tower(
            family=self.name,
            visual=visual,
            embed=visual._embeds,
            blocks=blocks,
            readout=readout,
            prefix=1,
            grid=tuple(visual.grid_size),
            d_model=d_model,
            d_joint=d_model if visual.proj is None else visual.proj.shape[1],
        )


def block_of(block: Any, index: int) -> Block:
    """Say what a block is made of.

    Raises:
        Refused: its forward or a part of it is unknown.
    """
    if type(block) not in (ResidualAttentionBlock, CustomResidualAttentionBlock):
        raise Refused(
            f"{type(block).__name__} in layer {index}: its forward is unknown, expected "
            "ResidualAttentionBlock or CustomResidualAttentionBlock"
        )
    gains = [_gain(scale, index) for scale in (block.ls_1, block.ls_2)]
    norm, mlp = _norm(block.ln_1, index), _mlp(block, gains[1])
    if type(block) is ResidualAttentionBlock:
        attn: Any = block.attn
        _check_attention(attn, index)
        return Block(
            module=block,
            n_heads=attn.num_heads,
            d_head=attn.head_dim,
            norm=norm,
            project=partial(_plain_qkv, attn),
            out=attn.out_proj,
            mlp=mlp,
            gain=gains[0],
        )
    custom: Attention = block.attn
    if custom.logit_scale is not None:
        raise Refused(
            f"scaled cosine attention in layer {index} cannot run at all in open_clip 3.3: its "
            "bmm gets four-dimensional tensors"
        )
    return Block(
        module=block,
        n_heads=custom.num_heads,
        d_head=custom.head_dim,
        norm=norm,
        project=partial(_custom_qkv, custom),
        out=custom.out_proj,
        mlp=mlp,
        head_scale=custom.head_scale,
        inner=_maybe_norm(custom.ln_inner, index),
        post=_maybe_norm(block.ln_attn, index),
        gain=gains[0],
    )


def _check_attention(attn: Any, index: int) -> None:
    if type(attn) is not nn.MultiheadAttention:
        raise Refused(f"{type(attn).__name__} in layer {index} is no plain attention")
    if not attn.batch_first or attn.bias_k is not None or attn.add_zero_attn:
        raise Refused(f"the attention of layer {index} has options that open_clip does not use")
    if not attn._qkv_same_embed_dim:
        raise Refused(f"query, key and value widths of layer {index} differ")


def _plain_qkv(attn: Any, y: Tensor, queries: int | None) -> QKV:
    return joined_qkv(y, attn.in_proj_weight, attn.in_proj_bias, attn.num_heads, queries)


def _custom_qkv(attn: Attention, y: Tensor, queries: int | None) -> QKV:
    q, k, v = joined_qkv(y, attn.in_proj_weight, attn.in_proj_bias, attn.num_heads, queries)
    return attn.ln_q(q), attn.ln_k(k), v


def _mlp(block: Any, gain: Tensor | None) -> Any:
    first = block.mlp.c_fc.weight

    def mlp(x: Tensor) -> Tensor:
        added = block.mlp(block.ln_2(x).to(first.dtype))
        return added if gain is None else added * gain

    return mlp


def _gain(scale: Any, index: int) -> Tensor | None:
    if type(scale) is nn.Identity:
        return None
    if type(scale) is LayerScale:
        return scale.gamma
    raise Refused(f"{type(scale).__name__} in layer {index} is no LayerScale")


def _norm(norm: Any, index: int) -> Any:
    if not is_layer_norm(norm):
        raise Refused(f"{type(norm).__name__} in layer {index} is no LayerNorm")
    return norm


def _maybe_norm(norm: Any, index: int) -> nn.Module | None:
    return None if type(norm) is nn.Identity else _norm(norm, index)


def _readout(visual: Any) -> Readout:
    if not is_layer_norm(visual.ln_post):
        raise Refused(f"{type(visual.ln_post).__name__} as last norm is no LayerNorm")
    project = () if visual.proj is None else ((visual.proj.T, None),)
    if visual.attn_pool is not None:
        if visual.attn_pool_contrastive is not None or visual.pool_type != "tok":
            raise Refused(
                f"the attentional pool {visual.attn_pool_type or visual.pool_type!r} is not the "
                "one that open_clip's models have: expected one pooler, read at its first query"
            )
        pooler: AttentionalPooler = visual.attn_pool
        return Readout(
            kind="coca",
            tokens=slice(0, None),
            pre=pooler.ln_k,
            pool=_pool(pooler),
            post=visual.ln_post,
            project=project,
        )
    if visual.pool_type == "tok":
        return Readout("tok", slice(0, 1), post=visual.ln_post, project=project)
    if visual.pool_type != "avg":
        raise Refused(f"pooling {visual.pool_type!r} returns no single embedding")
    tokens = slice(1, None)
    if visual.final_ln_after_pool:
        return Readout("avg", tokens, post=visual.ln_post, project=project)
    return Readout("avg-norm-first", tokens, pre=visual.ln_post, project=project)


def _pool(pooler: AttentionalPooler) -> AttentionPool:
    attn: Any = pooler.attn
    width, heads = attn.embed_dim, attn.num_heads
    if attn._qkv_same_embed_dim:
        weights = attn.in_proj_weight.chunk(3)
    else:
        weights = (attn.q_proj_weight, attn.k_proj_weight, attn.v_proj_weight)
    biases = (None, None, None) if attn.in_proj_bias is None else attn.in_proj_bias.chunk(3)

    def project(y: Tensor) -> QKV:
        first = pooler.ln_q(pooler.query[:1])[None].expand(len(y), -1, -1).to(y.dtype)
        q, k, v = (
            split_heads(linear_in_wider(x, weight, bias), heads)
            for x, weight, bias in zip((first, y, y), weights, biases, strict=True)
        )
        return q, k, v

    return AttentionPool(heads, width // heads, project, (weights[2], biases[2]), attn.out_proj)


FAMILY = OwnViT()
