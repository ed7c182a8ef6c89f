"""One residual block, whatever its family: what it is made of, and every step of its forward.

    y = norm(x)        q, k, v = project(y)        o_i = Σ_j α_ij v_j  (gated, if it has a gate)
    x ← x + write(o)   with write(o) = gain ⊙ post(inner(s_h o) W_O + b_O)
    x ← x + mlp(x)

A family fills in the fields; the walk, frames, maps and effects use the methods and never a
family's attributes. With attention and the LayerNorms' scales as they are, a head's part of what
is written is linear in o (TOWERS §2): it is `scale_i · o_i · T`, with T fixed by the weights.
Everything can be differentiated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.towers import norms

QKV = tuple[
    Float[Tensor, "image n_heads query d_head"],
    Float[Tensor, "image n_heads key d_head"],
    Float[Tensor, "image n_heads key d_head"],
]


class Attended(NamedTuple):
    """A block's attention: what it is made of, and what its heads put out.

    Attributes:
        y: normalised tokens.
        q: queries, k keys and v values of each head.
        o: outputs of each head, gated.
    """

    y: Float[Tensor, "image token d_model"]
    q: Float[Tensor, "image n_heads query d_head"]
    k: Float[Tensor, "image n_heads key d_head"]
    v: Float[Tensor, "image n_heads key d_head"]
    o: Float[Tensor, "image n_heads query d_head"]


class Written(NamedTuple):
    """What a block's attention adds, and how its parts are scaled.

    Attributes:
        update: what is added to the residual stream.
        heads: a head's part of token i is heads_i · o_i · T; None for ones.
        bias: the bias' part of token i is bias_i · scaled + fixed (`Bias`); None for ones.
    """

    update: Float[Tensor, "image token d_model"]
    heads: Float[Tensor, "image token"] | None = None
    bias: Float[Tensor, "image token"] | None = None


class Bias(NamedTuple):
    """What the attention adds whatever its heads say, in float64.

    Attributes:
        fixed: the same for each token of each picture.
        scaled: times `Written.bias`; None unless a LayerNorm follows the output projection.
    """

    fixed: Float[Tensor, " d_model"]
    scaled: Float[Tensor, " d_model"] | None


@dataclass(frozen=True, eq=False)
class Block:
    """One residual block.

    Attributes:
        module: the family's own block, for methods that know the family.
        n_heads: heads.
        d_head: width of a head.
        norm: applied to the residual stream before queries, keys and values are made.
        project: normalised tokens and the number of first tokens whose queries are needed (None:
            all) to q, k, v, with all that the family does to them (biases, norms, rotation).
        out: output projection W_O, b_O.
        mlp: residual stream to what the MLP adds to it, its norm and LayerScale applied.
        mask: added to the attention's scores.
        gate: normalised tokens to factors of o.
        head_scale: s_h.
        inner: LayerNorm over all heads together, before the output projection.
        post: LayerNorm after the output projection.
        gain: LayerScale λ of the attention.
    """

    module: nn.Module
    n_heads: int
    d_head: int
    norm: Callable[[Tensor], Tensor]
    project: Callable[[Tensor, int | None], QKV]
    out: nn.Linear
    mlp: Callable[[Tensor], Tensor]
    mask: Callable[[], Tensor] | None = None
    gate: Callable[[Tensor], Tensor] | None = None
    head_scale: Tensor | None = None
    inner: nn.Module | None = None
    post: nn.Module | None = None
    gain: Tensor | None = None

    def qkv(self, x: Float[Tensor, "image token d_model"], queries: int | None = None) -> QKV:
        """Return queries of the first `queries` tokens (None: of all), and all keys and values."""
        return self.project(self.norm(x), queries)

    def bias(self, queries: int | None = None) -> Float[Tensor, "*heads query key"] | None:
        """Return what is added to the scores of the first `queries` tokens, or None."""
        if self.mask is None:
            return None
        return self.mask()[..., :queries, :]

    def alpha(
        self,
        q: Float[Tensor, "image n_heads query d_head"],
        k: Float[Tensor, "image n_heads key d_head"],
    ) -> Float[Tensor, "image n_heads query key"]:
        """Return attention probabilities, softmax(q kᵀ / √d_head + mask)."""
        # scaled before the product, which half precision could not hold
        scores = q * self.d_head**-0.5 @ k.mT
        bias = self.bias(q.shape[2])
        return (scores if bias is None else scores + bias).softmax(dim=-1)

    def attend(
        self, x: Float[Tensor, "image token d_model"], queries: int | None = None
    ) -> Float[Tensor, "image n_heads query d_head"]:
        """Return o of the first `queries` tokens (None: of all), gated."""
        return self.attended(x, queries).o

    def attended(
        self, x: Float[Tensor, "image token d_model"], queries: int | None = None
    ) -> Attended:
        """Return o of the first `queries` tokens (None: of all), gated, and what it is made of."""
        y = self.norm(x)
        q, k, v = self.project(y, queries)
        bias = self.bias(queries)
        mask = None if bias is None else bias.to(q.dtype)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return Attended(y, q, k, v, self.gated(o, y))

    def gated(
        self,
        o: Float[Tensor, "image n_heads query d_head"],
        y: Float[Tensor, "image token d_model"],
    ) -> Float[Tensor, "image n_heads query d_head"]:
        """Return o times the block's gate, of normalised tokens y."""
        return o if self.gate is None else o * self.gate(y[:, : o.shape[2]])

    def write(
        self, o: Float[Tensor, "image n_heads token d_head"], *, wide: bool = False
    ) -> Written:
        """Return what heads' outputs add to the residual stream, and the scales of its parts.

        With `wide`, in single precision at least, whatever the precision of the weights.
        """
        heads = bias = None
        weight, added_bias = self.out.weight, self.out.bias
        if wide:
            o, weight = norms.wide(o), norms.wide(weight)
        if self.head_scale is not None:
            o = o * self.head_scale
        merged = o.transpose(1, 2).flatten(2)
        if self.inner is not None:
            heads = 1 / norms.sigma_of(self.inner, merged)
            merged = self.inner(merged)
        added = linear(merged, weight, added_bias)
        if self.post is not None:
            bias = 1 / norms.sigma_of(self.post, added)
            heads = bias if heads is None else heads * bias
            added = self.post(added)
        if self.gain is not None:
            added = added * self.gain
        return Written(added, heads, bias)

    def mean_written(
        self, o: Float[Tensor, "image n_heads token d_head"]
    ) -> Float[Tensor, "image 1 d_model"]:
        """Return the mean over tokens of what heads' outputs add, in single precision at least.

        One row a picture goes through the output projection. Not with a LayerNorm after it.
        """
        assert self.post is None
        o = norms.wide(o)
        merged = (o if self.head_scale is None else o * self.head_scale).transpose(1, 2).flatten(2)
        merged = merged if self.inner is None else self.inner(merged)
        mean = linear_in_wider(merged.mean(dim=1, keepdim=True), self.out.weight, self.out.bias)
        return mean if self.gain is None else mean * self.gain

    def after(
        self, x: Float[Tensor, "image token d_model"]
    ) -> Float[Tensor, "image token d_model"]:
        """Return the residual stream after the whole block."""
        x = x + self.write(self.attend(x)).update
        return x + self.mlp(x)

    def transform(self) -> Float[Tensor, "n_heads d_head d_model"]:
        """Return T of each head to the residual stream, in float64."""
        weight = norms.after(norms.exact(self.out.weight).T, self.post)
        if self.gain is not None:
            weight = weight * norms.exact(self.gain)
        heads = norms.through(self.inner, weight).unflatten(0, (self.n_heads, self.d_head))
        if self.head_scale is not None:
            heads = heads * norms.exact(self.head_scale).reshape(self.n_heads, 1, 1)
        return heads

    def biases(self) -> Bias:
        """Return what is added whatever the heads say: b_O, and the shifts of the LayerNorms."""
        weight = norms.exact(self.out.weight)
        width = weight.shape[0]
        fixed = norms.exact_or_zeros(self.out.bias, width)
        if self.inner is not None:
            fixed = fixed + norms.shift_of(self.inner, weight.shape[1]) @ weight.T
        scaled = None
        if self.post is not None:
            scaled = norms.after(fixed[None], self.post)[0]
            fixed = norms.shift_of(self.post, width)
        if self.gain is not None:
            gain = norms.exact(self.gain)
            fixed, scaled = fixed * gain, None if scaled is None else scaled * gain
        return Bias(fixed, scaled)


def linear(
    x: Float[Tensor, "*axes d"], weight: Float[Tensor, "out d"], bias: Tensor | None
) -> Float[Tensor, "*axes out"]:
    """Return x Wᵀ + b in the precision of the weight."""
    return F.linear(x.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype))


def linear_in_wider(
    x: Float[Tensor, "*axes d"], weight: Float[Tensor, "out d"], bias: Tensor | None
) -> Float[Tensor, "*axes out"]:
    """Return x Wᵀ + b in the precision of x or of the weight, whichever is more."""
    return linear(x, weight.to(torch.promote_types(x.dtype, weight.dtype)), bias)


def split_heads(
    projected: Float[Tensor, "image token width"], n_heads: int
) -> Float[Tensor, "image n_heads token d_head"]:
    """Return one projection's tokens head by head."""
    return projected.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def joined_qkv(
    y: Float[Tensor, "image token d_model"],
    weight: Float[Tensor, "three_widths d_model"],
    bias: Float[Tensor, " three_widths"] | None,
    n_heads: int,
    queries: int | None,
) -> QKV:
    """Return q, k, v by one matrix that holds all three projections, one below the other."""
    if queries is None or queries == y.shape[1]:
        parts = linear(y, weight, bias).unflatten(-1, (3, n_heads, -1)).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1], parts[2]
    width = weight.shape[0] // 3
    first, rest = (None, None) if bias is None else (bias[:width], bias[width:])
    q = split_heads(linear(y[:, :queries], weight[:width], first), n_heads)
    parts = linear(y, weight[width:], rest).unflatten(-1, (2, n_heads, -1)).permute(2, 0, 3, 1, 4)
    return q, parts[0], parts[1]
