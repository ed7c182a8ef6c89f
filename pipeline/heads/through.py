"""Through the read-out: from parts of the residual stream to parts of the embedding.

`Mean` is a read-out of one map A; `Attention` one of a map A_p for each head p of the pool, kept
as its two factors, A_p = V_p O_p. Both weight the tokens read as the picture's own attention and
LayerNorm scales do (TOWERS §1). `GatedAttention` goes on through the pool's MLP, its gates and
scale as they are.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.towers import norms
from pipeline.towers.pool_mlp import Gates, PoolMlp
from pipeline.towers.readout import Pooled
from pipeline.towers.tower import Tower
from schemas.errors import UnsupportedModel


@dataclass(frozen=True)
class Reading:
    """How one batch's embeddings are read.

    Attributes:
        raw: the embedding, not normalised.
        sigma: scale that contributions are divided by once more: of the LayerNorm over what is
            pooled; 1 / Σ_i w_i where each token has its own; 1 without one.
        weights: w_{p,i}, without what `divide` stands for; None where `read` is 1.
        divide: the part of σ that `weights` leave out; None for nothing.
        pooled: what the pool's heads make of the batch; None without a pool.
        gates: of the pool's MLP, where parts go on through it.
    """

    raw: Float[Tensor, "image d_joint"]
    sigma: Float[Tensor, " image"]
    weights: Float[Tensor, "image p read"] | None
    divide: Float[Tensor, " image"] | None
    pooled: Pooled | None = None
    gates: Gates | None = None


class Mean:
    """A read-out without attention: of one token, or the mean over tokens."""

    def __init__(self, tower: Tower, dtype: torch.dtype) -> None:
        """Take the map A and the constant, on the tower's device in `dtype`."""
        self.readout = tower.readout
        exact = self.readout.map(tower.d_model)
        self.exact = exact
        self.map: Float[Tensor, "d_model d_joint"] = exact.to(tower.device, dtype)
        const = self.readout.constant(tower.d_model)
        self.const: Float[Tensor, " d_joint"] = const.to(tower.device, dtype)
        self.dtype = dtype

    def read(self, residual: Float[Tensor, "image read d_model"]) -> Reading:
        """Read embeddings from the last states of the tokens read."""
        z = residual.to(self.dtype)
        if self.readout.early:
            norm = self.readout.post or self.readout.pre
            pooled = z[:, 0]
            sigma = torch.ones_like(pooled[:, 0]) if norm is None else norms.sigma_of(norm, pooled)
            return Reading(pooled @ self.map / sigma[:, None] + self.const, sigma, None, sigma)
        assert self.readout.pre is not None
        weights = 1 / (norms.sigma_of(self.readout.pre, z) * z.shape[1])[:, None]
        raw = (weights @ z)[:, 0] @ self.map + self.const
        return Reading(raw, 1 / weights.sum(dim=(1, 2)), weights, None)

    def joint(
        self, weighed: Float[Tensor, "image p *axes d_model"], reading: Reading
    ) -> Float[Tensor, "image *axes d_joint"]:
        """Return weighed states of the residual stream in the joint space."""
        return weighed[:, 0] @ self.map

    def prepare(
        self, transform: Float[Tensor, "n_heads d_head d_model"]
    ) -> Float[Tensor, "n_heads d_head d_joint"]:
        """Return T A of a layer's heads, for `heads`."""
        return (transform @ self.exact).to(self.map)

    def heads(
        self, weighed: Float[Tensor, "image p n_heads d_head"], prepared: Tensor, reading: Reading
    ) -> Float[Tensor, "image n_heads d_joint"]:
        """Return a layer's heads in the joint space."""
        return torch.einsum("bhk,hkj->bhj", weighed[:, 0], prepared)


class Attention:
    """A read-out through a pool's attention: trunk parts reach the embedding by all its heads.

    Attributes:
        out: what a pool head's output becomes, and `bias` b_O, and `value_bias` what the values'
            biases add: in the joint space, or where `gated` as the pool's MLP receives it.
    """

    gated = False

    def __init__(self, tower: Tower, dtype: torch.dtype) -> None:
        """Take the maps and constants, on the tower's device in `dtype`."""
        self.readout, pool = tower.readout, tower.readout.pool
        assert pool is not None
        self.pool, self.dtype = pool, dtype
        out = norms.exact(pool.out.weight).T
        last = self.readout.last_map(out.shape[1])
        value = pool.value_maps()
        self.exact = torch.stack([norms.through(self.readout.pre, v) for v in value])
        shift = norms.shift_of(self.readout.pre, tower.d_model)
        offset = torch.einsum("d,pdk->pk", shift, value).flatten() + pool.value_bias()

        def here(tensor: Tensor) -> Tensor:
            return tensor.to(tower.device, dtype)

        self.last: Float[Tensor, "d_pool d_joint"] = here(last)
        self.value: Float[Tensor, "p d_model pool_width"] = here(self.exact)
        self.const: Float[Tensor, " d_joint"] = here(self.readout.constant(out.shape[1]))
        bias = norms.exact_or_zeros(pool.out.bias, out.shape[1])
        ends = (out, bias, offset @ out)
        out, bias, offset = ends if self.gated else (end @ last for end in ends)
        self.out: Float[Tensor, "p pool_width d"] = here(
            out.unflatten(0, (pool.n_heads, pool.d_head))
        )
        self.bias: Float[Tensor, " d"] = here(bias)
        self.value_bias: Float[Tensor, " d"] = here(offset)

    def read(self, residual: Float[Tensor, "image read d_model"], *, weigh: bool = True) -> Reading:
        """Read embeddings; with `weigh`, also how much each token counts for each pool head."""
        pre = self.readout.pre
        y = residual if pre is None else pre(residual)
        weights = None
        if weigh:
            attended = self.pool.attended(y)
            pooled, weights = self.pool.write(attended.o), attended.alpha.to(self.dtype)
            if pre is not None:
                weights = weights / norms.sigma_of(pre, residual).to(self.dtype)[:, None]
        else:
            pooled = self.pool(y)
        total = pooled.total.to(self.dtype)
        if pooled.mlp is not None:
            total = total + pooled.mlp
        post = self.readout.post
        sigma = torch.ones_like(total[:, 0]) if post is None else norms.sigma_of(post, total)
        raw = total @ self.last / sigma[:, None] + self.const
        return Reading(raw, sigma, weights, sigma, pooled)

    def joint(
        self, weighed: Float[Tensor, "image p *axes d_model"], reading: Reading
    ) -> Float[Tensor, "image *axes d_joint"]:
        """Return weighed states of the residual stream in the joint space."""
        narrow = torch.einsum("bp...d,pdk->bp...k", weighed, self.value)
        return self.end(torch.einsum("bp...k,pkj->b...j", narrow, self.out), reading)

    def prepare(
        self, transform: Float[Tensor, "n_heads d_head d_model"]
    ) -> Float[Tensor, "p n_heads d_head pool_width"]:
        """Return T V_p of a layer's heads, for `heads`."""
        return torch.einsum("hkd,pdq->phkq", transform, self.exact).to(self.value)

    def heads(
        self, weighed: Float[Tensor, "image p n_heads d_head"], prepared: Tensor, reading: Reading
    ) -> Float[Tensor, "image n_heads d_joint"]:
        """Return a layer's heads in the joint space."""
        narrow = torch.einsum("bphk,phkq->bhpq", weighed, prepared)
        return self.end(torch.einsum("bhpq,pqj->bhj", narrow, self.out), reading)

    def end(
        self, written: Float[Tensor, "image *axes d"], reading: Reading
    ) -> Float[Tensor, "image *axes d_joint"]:
        """Return in the joint space what `out` makes of a part: it is there already."""
        return written

    def mlp(self, reading: Reading) -> Float[Tensor, "image d_joint"] | None:
        """Return what the pool's MLP adds of itself; None without one."""
        assert reading.pooled is not None
        added = reading.pooled.mlp
        return None if added is None else added.to(self.dtype) @ self.last


class GatedAttention(Attention):
    """The same, and on through the pool's MLP as a linear map: an attribution convention.

    With its gates g and its LayerNorm's scale σ_a at the values that they take, c becomes
    c + [(c C diag(γ) / σ_a) W₁ ⊙ g] W₂ (TOWERS §1), a map that depends on the picture.
    """

    gated = True

    def __init__(self, tower: Tower, dtype: torch.dtype) -> None:
        """Take the maps and constants.

        Raises:
            UnsupportedModel: as `check_gated`.
        """
        mlp = check_gated(tower)
        super().__init__(tower, dtype)
        first, second = mlp.first_map(), norms.exact(mlp.second.weight).T
        self.first: Float[Tensor, "d_pool hidden"] = first.to(self.last)
        self.second: Float[Tensor, "hidden d_pool"] = second.to(self.last)
        self.first_shift: Float[Tensor, " hidden"] = mlp.first_shift().to(self.last)
        shift = norms.exact_or_zeros(mlp.second.bias, second.shape[1])
        self.second_shift: Float[Tensor, " d_pool"] = shift.to(self.last)

    def read(self, residual: Float[Tensor, "image read d_model"], *, weigh: bool = True) -> Reading:
        """Read embeddings, and how the pool's MLP is gated."""
        reading = super().read(residual, weigh=weigh)
        assert reading.pooled is not None and self.pool.mlp is not None
        found = self.pool.mlp.gates(reading.pooled.total)
        return replace(reading, gates=Gates(*(part.to(self.dtype) for part in found)))

    def end(
        self, written: Float[Tensor, "image *axes d"], reading: Reading
    ) -> Float[Tensor, "image *axes d_joint"]:
        """Return what a part becomes behind the MLP, in the joint space."""
        assert reading.gates is not None
        gates, sigma = reading.gates
        axes = written.shape[1:-1]
        flat = written.reshape(len(written), -1, written.shape[-1])
        hidden = flat @ self.first / sigma[:, None, None] * gates[:, None]
        joint = (flat + hidden @ self.second) @ self.last
        return joint.reshape(len(written), *axes, -1)

    def mlp(self, reading: Reading) -> Float[Tensor, "image d_joint"]:
        """Return what the MLP adds of itself: its biases, gated."""
        assert reading.gates is not None
        added = (self.first_shift * reading.gates.gates) @ self.second + self.second_shift
        return added @ self.last


def check_gated(tower: Tower) -> PoolMlp:
    """Return the pool's MLP, which parts may go on through.

    Raises:
        UnsupportedModel: there is no attention pool with an MLP, or its activation is no gate.
    """
    pool = tower.readout.pool
    if pool is None or pool.mlp is None:
        raise UnsupportedModel(
            f"pool-mlp gated: {tower.family} read by {tower.readout.kind!r} has no MLP behind an "
            "attention pool; expected a tower that has, as SigLIP or Perception Encoder: leave "
            "--pool-mlp out"
        )
    if not pool.mlp.linear:
        raise UnsupportedModel(
            f"pool-mlp gated: the activation of the pool's MLP of this {tower.family} is not 0 at "
            "0, so it is no gate of what comes in: leave --pool-mlp out"
        )
    return pool.mlp
