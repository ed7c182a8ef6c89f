"""What timm's transformers share: the attention they are built with, their pools and heads."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from open_clip.timm_model import TimmModel
from timm.layers.attention import Attention, AttentionRope
from timm.layers.attention_pool import AttentionPoolLatent
from timm.layers.hybrid_embed import HybridEmbed
from timm.layers.mlp import Mlp
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import EvaAttention
from torch import Tensor, nn

from pipeline.towers.block import QKV, Block, joined_qkv, linear, linear_in_wider, split_heads
from pipeline.towers.norms import is_layer_norm
from pipeline.towers.pool_mlp import PoolMlp
from pipeline.towers.readout import AttentionPool, Readout
from pipeline.towers.tower import Refused

Rope = Callable[[], Tensor]


def trunk_of(visual: Any, kind: type) -> Any:
    """Return the timm trunk of an image encoder if it is exactly of that type, else None."""
    if type(visual) is TimmModel and type(visual.trunk) is kind:
        return visual.trunk
    return None


def grid_of_trunk(visual: Any) -> tuple[int, int]:
    """Return rows and columns of image tokens at the size of picture that the model's config says.

    A trunk made for any size is resized, positions and all; one of convolutions before its blocks
    and without positions takes any.

    Raises:
        Refused: the trunk takes pictures of another size alone.
    """
    size, trunk = visual.image_size, visual.trunk
    both = (size, size) if isinstance(size, int) else tuple(size)
    own = tuple(trunk.patch_embed.img_size)
    any_size = trunk.pos_embed is None and type(trunk.patch_embed) is HybridEmbed
    if both != own and not (any_size or trunk.dynamic_img_size):
        raise Refused(
            f"image_size is {both[1]} x {both[0]} in its config, and its trunk takes pictures of "
            f"{own[1]} x {own[0]} pixels alone: write that as image_size"
        )
    rows, columns = trunk.patch_embed.dynamic_feat_size(both)
    return int(rows), int(columns)


def timm_block(
    block: Any,
    index: int,
    *,
    mlp: Callable[[Tensor], Tensor],
    norm: Callable[[Tensor], Tensor],
    gain: Tensor | None = None,
    post: nn.Module | None = None,
    rope: Rope | None = None,
    mask: Callable[[], Tensor] | None = None,
) -> Block:
    """Return a block whose attention is one of timm's.

    Raises:
        Refused: it is another one, or has options together in which no head writes linearly.
    """
    attn = block.attn
    inner, gate = inner_norm(attn, index), getattr(attn, "gate", None)
    if inner is not None and gate is not None:
        raise Refused(
            f"layer {index} normalises all heads together and then gates them: what one head "
            "writes depends on the others' gates"
        )
    if type(attn.proj) is not nn.Linear:
        raise Refused(f"the output projection of layer {index} is {type(attn.proj).__name__}")
    return Block(
        module=block,
        n_heads=attn.num_heads,
        d_head=attn.head_dim,
        norm=norm,
        project=partial(timm_qkv, attn, rope),
        out=attn.proj,
        mlp=mlp,
        mask=mask,
        gate=None if gate is None else partial(_gate, gate, attn.num_heads),
        inner=inner,
        post=post,
        gain=gain,
    )


def inner_norm(attn: Any, index: int) -> nn.Module | None:
    """Return the LayerNorm over all heads before the output projection, if there is one."""
    return maybe_norm(getattr(attn, "norm", nn.Identity()), index)


def maybe_norm(norm: Any, where: object) -> nn.Module | None:
    """Return a LayerNorm, or None for none at all.

    Raises:
        Refused: it is another kind of norm.
    """
    if type(norm) is nn.Identity:
        return None
    if not is_layer_norm(norm):
        raise Refused(f"{type(norm).__name__} in layer {where} is no LayerNorm")
    return norm


def check_attention(attn: Any, index: int, kinds: tuple[type, ...]) -> None:
    """Refuse attention of another type, whose forward is unknown."""
    if type(attn) not in kinds:
        known = ", ".join(kind.__name__ for kind in kinds)
        raise Refused(f"{type(attn).__name__} in layer {index}: expected {known}")


def _gate(
    gate: nn.Linear, n_heads: int, y: Float[Tensor, "image token d_model"]
) -> Float[Tensor, "image n_heads token d_head"]:
    return split_heads(linear(y, gate.weight, gate.bias).sigmoid(), n_heads)


def timm_qkv(attn: Any, rope: Rope | None, y: Tensor, queries: int | None) -> QKV:
    """Return q, k, v as timm's attention makes them: biases, norms, rotation, shared keys."""
    if getattr(attn, "qkv", None) is not None:
        bias = attn.qkv.bias
        if getattr(attn, "q_bias", None) is not None:
            bias = torch.cat([b.to(attn.q_bias) for b in (attn.q_bias, attn.k_bias, attn.v_bias)])
        q, k, v = joined_qkv(y, attn.qkv.weight, bias, attn.num_heads, queries)
    else:
        shared = getattr(attn, "num_kv_heads", attn.num_heads)
        q = split_heads(linear(y[:, :queries], *_both(attn.q_proj)), attn.num_heads)
        k = split_heads(linear(y, *_both(attn.k_proj)), shared)
        v = split_heads(linear(y, *_both(attn.v_proj)), shared)
    q, k = attn.q_norm(q), attn.k_norm(k)
    if rope is not None:
        turns = rope()
        q, k = _turned(attn, q, turns).to(v.dtype), _turned(attn, k, turns).to(v.dtype)
    groups = getattr(attn, "num_kv_groups", 1)
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    return q, k, v


def _both(module: nn.Linear) -> tuple[Tensor, Tensor | None]:
    return module.weight, module.bias


def _turned(
    attn: Any, x: Float[Tensor, "image n_heads token d_head"], rope: Tensor
) -> Float[Tensor, "image n_heads token d_head"]:
    """Rotate all tokens but the first ones, which have no place in the picture."""
    prefix = attn.num_prefix_tokens
    if x.shape[2] <= prefix:
        return x
    half = getattr(attn, "rotate_half", False)
    turned = apply_rot_embed_cat(x[:, :, prefix:], rope, half=half)
    return torch.cat([x[:, :, :prefix], turned], dim=2)


def timm_readout(visual: Any, prefix: int) -> Readout:
    """Return the read-out of a timm trunk and of the head that open_clip puts on it.

    Raises:
        Refused: its pool or head is none in which heads add up.
    """
    trunk = visual.trunk
    norm, last = maybe_norm(trunk.norm, "norm"), maybe_norm(trunk.fc_norm, "fc_norm")
    project = _projections(visual)
    pool = getattr(trunk, "attn_pool", None)
    if pool is not None:
        # EVA's pool reads the class token too, the plain ViT's only when told to
        every = getattr(trunk, "pool_include_prefix", not hasattr(trunk, "pool_include_prefix"))
        tokens = slice(0 if every else prefix, None)
        return Readout("map", tokens, norm, latent_pool(pool), last, project)
    if norm is not None and last is not None:
        raise Refused("it has two LayerNorms one after the other before its projection")
    if trunk.global_pool == "token":
        return Readout("tok", slice(0, 1), post=norm or last, project=project)
    if trunk.global_pool != "avg":
        raise Refused(f"pooling {trunk.global_pool!r} is no weighting of tokens")
    every = getattr(trunk, "pool_include_prefix", False)
    tokens = slice(0 if every else prefix, None)
    if norm is None:
        return Readout("avg", tokens, post=last, project=project)
    return Readout("avg-norm-first", tokens, pre=norm, project=project)


def _projections(visual: Any) -> tuple[tuple[Tensor, Tensor | None], ...]:
    """Return what follows the pool: the trunk's own classifier, then open_clip's head."""
    parts = [visual.trunk.head, *visual.head]
    kept = [part for part in parts if type(part) not in (nn.Identity, nn.Dropout)]
    for part in kept:
        if type(part) is not nn.Linear:
            raise Refused(
                f"its head is {type(part).__name__}, not linear: no head writes linearly into "
                "the embedding"
            )
    return tuple(_both(part) for part in kept)


def latent_pool(found: object) -> AttentionPool:
    """Return timm's attention pool with one learned query.

    Raises:
        Refused: it has several queries, positions of its own, no output projection, or another MLP.
    """
    if type(found) is not AttentionPoolLatent:
        raise Refused(f"{type(found).__name__} is no attention pool with one query")
    pool: Any = found
    if pool.latent_len != 1 or pool.pos_embed is not None or type(pool.proj) is not nn.Linear:
        raise Refused("its attention pool has several queries, positions or no output projection")
    width = pool.kv.weight.shape[0] // 2
    bias = None if pool.kv.bias is None else pool.kv.bias[width:]

    def project(y: Tensor) -> QKV:
        latent = pool.latent.expand(len(y), -1, -1)
        if type(pool.q) is nn.Linear:
            latent = linear_in_wider(latent.to(y.dtype), *_both(pool.q))
        q = split_heads(latent, pool.num_heads)
        both = linear_in_wider(y, *_both(pool.kv)).unflatten(-1, (2, pool.num_heads, -1))
        k, v = both.permute(2, 0, 3, 1, 4)
        return pool.q_norm(q).to(v.dtype), pool.k_norm(k).to(v.dtype), v

    return AttentionPool(
        n_heads=pool.num_heads,
        d_head=pool.head_dim,
        project=project,
        value=(pool.kv.weight[width:], bias),
        out=pool.proj,
        mlp=_pool_mlp(pool),
    )


def _pool_mlp(pool: Any) -> PoolMlp | None:
    mlp = pool.mlp
    if mlp is None:
        return None
    if type(mlp) is Mlp and type(mlp.norm) is nn.Identity:
        first, second = mlp.fc1, mlp.fc2
        if isinstance(first, nn.Linear) and isinstance(second, nn.Linear):
            return PoolMlp(maybe_norm(pool.norm, "attn_pool"), first, mlp.act, second)
    raise Refused(f"the MLP of its attention pool is {type(mlp).__name__}, not two linear layers")


PLAIN = (Attention,)
EVA = (EvaAttention, AttentionRope)
