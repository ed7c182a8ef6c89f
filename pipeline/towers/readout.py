"""From the residual stream after the last block to the embedding: one form for every family.

    y_i = pre(z_i)                          a LayerNorm for each token, or none
    t   = mean over the tokens read of y_i, or the pool's attention over them
    t   = t + mlp(t)                        if the pool has an MLP
    e   = post(t) W + b                     a LayerNorm, or none, and the projection, or none

With attention and scales as they are, e = const + Σ_p Σ_i w_{p,i} z_i A_p: a weighting of tokens
and fixed maps, one for each head p of the pool, or one if there is no attention in it (TOWERS §1).
What the pool's MLP adds is a component of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.towers import norms
from pipeline.towers.block import QKV, linear, linear_in_wider
from pipeline.towers.pool_mlp import PoolMlp
from schemas.manifest import PoolKind, TextPoolKind


class Pooled(NamedTuple):
    """What a pool's heads make of a picture.

    Attributes:
        heads: o of each of its heads.
        total: their sum through W_O, with b_O.
        mlp: what the pool's MLP adds; None without one.
    """

    heads: Float[Tensor, "image pool_head pool_width"]
    total: Float[Tensor, "image d_pool"]
    mlp: Float[Tensor, "image d_pool"] | None


class PoolAttended(NamedTuple):
    """A pool's attention, its keys and values made once.

    Attributes:
        alpha: attention probabilities.
        v: values of each head.
        o: outputs of each head, Σ_i α_i v_i.
    """

    alpha: Float[Tensor, "image pool_head token"]
    v: Float[Tensor, "image pool_head token pool_width"]
    o: Float[Tensor, "image pool_head pool_width"]


@dataclass(frozen=True, eq=False)
class AttentionPool:
    """Attention from one query over the tokens read (SigLIP, PE, CoCa, CLIP's ResNets).

    Attributes:
        n_heads: heads of the pool, p.
        d_head: width of each.
        project: normalised tokens to q (of one query), k, v, in the tokens' own precision: in half
            precision they are single, and how much each token counts is then not rounded.
        value: W_V and b_V, by which v is made of a normalised token: [n_heads · d_head, d_model].
        out: W_O and b_O.
        mlp: what is added to the pool's output, given it; None if nothing is.
    """

    n_heads: int
    d_head: int
    project: Callable[[Tensor], QKV]
    value: tuple[Tensor, Tensor | None]
    out: nn.Linear
    mlp: PoolMlp | None = None

    def __call__(self, y: Float[Tensor, "image token d_model"]) -> Pooled:
        """Pool normalised tokens."""
        return self.write(self.attend(y))

    def attend(
        self, y: Float[Tensor, "image token d_model"]
    ) -> Float[Tensor, "image pool_head pool_width"]:
        """Return o of each head, of normalised tokens."""
        q, k, v = self.project(y)
        return F.scaled_dot_product_attention(q, k, v)[:, :, 0]

    def write(self, o: Float[Tensor, "image pool_head pool_width"]) -> Pooled:
        """Return what heads' outputs make of a picture, in single precision at least.

        It is one vector a picture, and what each head writes of it is counted without rounding.
        """
        total = linear_in_wider(norms.wide(o.flatten(1)), self.out.weight, self.out.bias)
        return Pooled(o, total, None if self.mlp is None else self.mlp(total))

    def attended(self, y: Float[Tensor, "image token d_model"]) -> PoolAttended:
        """Return how the pool attends to normalised tokens, and what its heads put out."""
        q, k, v = self.project(y)
        alpha = (q * self.d_head**-0.5 @ k.mT).softmax(dim=-1)
        return PoolAttended(alpha[:, :, 0], v, (alpha @ v)[:, :, 0])

    def value_maps(self) -> Float[Tensor, "pool_head d_model pool_width"]:
        """Return W_V of each head in float64."""
        return norms.exact(self.value[0]).unflatten(0, (self.n_heads, self.d_head)).mT

    def value_bias(self) -> Float[Tensor, " pool_width_all"]:
        """Return b_V of all heads in float64."""
        return norms.exact_or_zeros(self.value[1], self.n_heads * self.d_head)


@dataclass(frozen=True, eq=False)
class Readout:
    """How a tower reads its embedding from the last residual stream.

    Attributes:
        kind: its name in the record: tok, avg, avg-norm-first, map, coca, attn2d; of texts, the
            token read: first, last, argmax or eos (end of text), cls (CoCa's class embedding).
        tokens: which tokens are read.
        pre: LayerNorm of each token before they are pooled.
        pool: attention over the tokens; None: their mean (of one token: itself).
        post: LayerNorm after the pool.
        project: W and b of what follows, in order; each W is [out, in].
    """

    kind: PoolKind | TextPoolKind
    tokens: slice
    pre: nn.Module | None = None
    pool: AttentionPool | None = None
    post: nn.Module | None = None
    project: Sequence[tuple[Tensor, Tensor | None]] = ()

    @property
    def single(self) -> bool:
        """Whether one token is read, the first."""
        return self.pool is None and self.tokens == slice(0, 1)

    @property
    def early(self) -> bool:
        """Whether tokens may be pooled before their scales are known: all are weighted alike."""
        return self.single or (self.pool is None and self.pre is None)

    def reduce(self, x: Float[Tensor, "image token d"]) -> Float[Tensor, "image read d"]:
        """Return what is kept of the tokens' states: one row where `early`, else those read."""
        if self.single:
            # a copy: a view would keep every layer's tokens in memory to the end of the pass
            return x[:, :1].clone()
        read = x[:, self.tokens]
        return norms.mean_of(read, dim=1) if self.early else read

    def embed(self, z: Float[Tensor, "image token d_model"]) -> Float[Tensor, "image d_joint"]:
        """Return the embedding of the last residual stream, as the tower itself computes it.

        Not normalised. Takes all tokens, and can be differentiated.
        """
        y = self.normed(z)
        return self.finish(y.mean(dim=1)) if self.pool is None else self.end(self.pool(y))

    def normed(
        self, z: Float[Tensor, "image token d_model"]
    ) -> Float[Tensor, "image read d_model"]:
        """Return the tokens read of the last residual stream, as they are pooled."""
        y = z[:, self.tokens]
        return y if self.pre is None else self.pre(y)

    def end(self, pooled: Pooled) -> Float[Tensor, "image d_joint"]:
        """Return the embedding of what the pool's heads have written."""
        return self.finish(pooled.total if pooled.mlp is None else pooled.total + pooled.mlp)

    def finish(self, t: Float[Tensor, "image d_pool"]) -> Float[Tensor, "image d_joint"]:
        """Return post(t) W + b."""
        t = t if self.post is None else self.post(t)
        for weight, bias in self.project:
            t = linear(t, weight, bias)
        return t

    def width(self, width: int) -> int:
        """Return d_joint, given the width of what is pooled."""
        return self.project[-1][0].shape[0] if self.project else width

    def last_map(self, width: int) -> Float[Tensor, "d_pool d_joint"]:
        """Return C diag(γ_post) W in float64, for a pool whose output has `width`."""
        matrix = torch.eye(width, dtype=torch.float64)
        for weight, _ in self.project:
            matrix = matrix @ norms.exact(weight).T
        return norms.through(self.post, matrix)

    def map(self, width: int) -> Float[Tensor, "d_model d_joint"]:
        """Return A in float64, for a read-out without attention."""
        return norms.through(self.pre, self.last_map(width))

    def constant(self, width: int) -> Float[Tensor, " d_joint"]:
        """Return β W + b in float64: what the embedding is of nothing at all.

        β is of the LayerNorm next to the projection: `post`, or `pre` when there is no attention
        between.
        """
        norm = self.pre if self.post is None and self.pool is None else self.post
        total = norms.shift_of(norm, width)[None]
        for weight, bias in self.project:
            total = total @ norms.exact(weight).T
            if bias is not None:
                total = total + norms.exact(bias)
        return total[0]
