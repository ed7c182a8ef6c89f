"""The MLP of an attention pool: what it adds, and what it is with its gates as they are.

    t ↦ t + act(LN(t) W₁ + b₁) W₂ + b₂

It acts on one vector of a picture. Most activations are x ⊙ g with g = act(x) / x; with g and the
LayerNorm's scale σ at the values that they take, the MLP is linear too (TOWERS §1):

    c ↦ c + [(c C diag(γ) / σ) W₁ ⊙ g] W₂,        constant [(β W₁ + b₁) ⊙ g] W₂ + b₂
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.towers import norms
from pipeline.towers.block import linear_in_wider


class Gates(NamedTuple):
    """What an MLP's activation and LayerNorm do to a picture.

    Attributes:
        gates: g = act(x) / x of each hidden unit; act'(0) where x is 0.
        sigma: scale of the LayerNorm; ones without one.
    """

    gates: Float[Tensor, "image hidden"]
    sigma: Float[Tensor, " image"]


@dataclass(frozen=True, eq=False)
class PoolMlp:
    """The MLP of a pool.

    Attributes:
        norm: LayerNorm before it, or none.
        first: W₁ and b₁.
        act: the activation.
        second: W₂ and b₂.
    """

    norm: nn.Module | None
    first: nn.Linear
    act: Callable[[Tensor], Tensor]
    second: nn.Linear

    def __call__(self, t: Float[Tensor, "image d_pool"]) -> Float[Tensor, "image d_pool"]:
        """Return what is added to t, in single precision at least: it is one vector a picture."""
        return _linear(self.second, self.act(self._hidden(t)))

    def gates(self, t: Float[Tensor, "image d_pool"]) -> Gates:
        """Return the gates and the scale that t itself sets, in single precision at least."""
        x = self._hidden(t)
        least = torch.finfo(x.dtype).eps
        at = torch.where(x == 0, least, x)
        ones = torch.ones_like(norms.wide(t[:, 0]))
        sigma = ones if self.norm is None else norms.sigma_of(self.norm, t)
        return Gates(self.act(at) / at, sigma)

    @property
    def linear(self) -> bool:
        """Whether act(0) = 0, without which the activation is no gate."""
        zero = self.first.weight.new_zeros(1)
        return bool(self.act(zero).abs().max() == 0)

    def first_map(self) -> Float[Tensor, "d_pool hidden"]:
        """Return C diag(γ) W₁ in float64."""
        return norms.through(self.norm, norms.exact(self.first.weight).T)

    def first_shift(self) -> Float[Tensor, " hidden"]:
        """Return β W₁ + b₁ in float64."""
        weight = norms.exact(self.first.weight)
        shift = norms.shift_of(self.norm, weight.shape[1]) @ weight.T
        return shift + norms.exact_or_zeros(self.first.bias, weight.shape[0])

    def _hidden(self, t: Float[Tensor, "image d_pool"]) -> Float[Tensor, "image hidden"]:
        t = norms.wide(t)
        return _linear(self.first, t if self.norm is None else self.norm(t))


def _linear(module: nn.Linear, x: Float[Tensor, "image d"]) -> Float[Tensor, "image out"]:
    return linear_in_wider(x, module.weight, module.bias)
