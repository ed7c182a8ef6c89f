"""What a picture's embedding is without some components: the model run on, and what is predicted.

A component is a head, an MLP, or what a class token reads of itself (α_00 v_0 of a layer's heads:
the paper's ablation of the class token's attention, table 1). It is replaced by its mean over
pictures, or by zero, and everything after it sees that:

    total(S) = ê(I | x_s := mean_s for s in S)
    direct(S) = ê(I) − Σ_S (c_s − mean c_s)        scale and norm frozen, as SQL's ablation

Several components of one case are replaced together. A head's mean is per token; at zero its output
bias b_O stays, which is no head's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pipeline.heads.decompose import Decomposer, Decomposition
from pipeline.heads.position_means import (
    Key,
    Layers,
    PositionSums,
    What,
    class_part,
    pool_outputs,
    queries,
)
from pipeline.towers.tower import Tower
from schemas.errors import UnsupportedModel


@dataclass(frozen=True)
class Case:
    """Components that are replaced together.

    Attributes:
        heads: of each layer; n_layers for those of the pool.
        mlps: layers.
        cls: layers whose class token does not see itself.
    """

    heads: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    mlps: frozenset[int] = frozenset()
    cls: frozenset[int] = frozenset()

    @property
    def layers(self) -> set[int]:
        """Every layer that something is replaced in."""
        return {*self.heads, *self.mlps, *self.cls}

    def joined(self, other: "Case") -> "Case":
        """Return the components of both."""
        layers = sorted({*self.heads, *other.heads})
        heads = {n: {*self.heads.get(n, ()), *other.heads.get(n, ())} for n in layers}
        return Case(
            {n: tuple(sorted(some)) for n, some in heads.items()},
            self.mlps | other.mlps,
            self.cls | other.cls,
        )


def layers_of(cases: Sequence[Case]) -> Layers:
    """Return the layers whose parts the cases need."""
    return Layers(
        sorted({n for case in cases for n in case.heads}),
        sorted({n for case in cases for n in case.mlps}),
        sorted({n for case in cases for n in case.cls}),
    )


@dataclass(frozen=True)
class Replacing:
    """How components are replaced.

    Attributes:
        tower: the image encoder.
        means: of the components; None to replace them by zero.
        everywhere: at every token; or only at those that the read-out reads. What a class token
            reads of itself is of the class token in either case.
    """

    tower: Tower
    means: PositionSums | None
    everywhere: bool = True

    def require(self, cases: Sequence[Case]) -> None:
        """Check that the tower has what is to be replaced.

        Raises:
            UnsupportedModel: no class token is read, or a case has heads of the trunk and of the
                pool, whose direct contributions are two sums of the same.
        """
        pool = self.tower.pool_layer
        if any(pool in case.heads and len(case.layers) > 1 for case in cases):
            raise UnsupportedModel(
                f"{self.tower.family}: heads of the pool (layer {pool}) and parts of the trunk in "
                "one set; what the trunk writes is in what the pool's heads write: give one of them"
            )
        if any(case.cls for case in cases) and not self.tower.readout.single:
            raise UnsupportedModel(
                f"{self.tower.family} reads no class token (read-out "
                f"{self.tower.readout.kind!r}), so no class token attends to itself; replace heads "
                "or MLPs"
            )

    @torch.inference_mode()
    def total(
        self, pixels: Float[Tensor, "image 3 height width"], cases: Sequence[Case]
    ) -> Float[Tensor, "case image d_joint"]:
        """Return ê of each case, exactly; of a case without components, that of the picture.

        Layers before a case's first are run once for all cases.
        """
        tower = self.tower
        x = tower.start(pixels)
        found: dict[int, Tensor] = {}
        for layer in range(tower.n_layers + 1):
            for number, case in enumerate(cases):
                if min({*case.layers, tower.n_layers}) == layer:
                    found[number] = self._finish(layer, x, case)
            if layer < tower.n_layers:
                x = self._block(layer, x, Case())
        return torch.stack([found[number] for number in range(len(cases))])

    def _finish(
        self, layer: int, x: Float[Tensor, "image token d_model"], case: Case
    ) -> Float[Tensor, "image d_joint"]:
        for later in range(layer, self.tower.n_layers):
            x = self._block(later, x, case)
        readout = self.tower.readout
        heads = case.heads.get(self.tower.n_layers, ())
        if not heads:
            return F.normalize(readout.embed(x), dim=-1)
        assert readout.pool is not None
        o = pool_outputs(self.tower, x).clone()
        o[:, list(heads)] = self._mean("output", self.tower.n_layers, o[0, :, None])[list(heads), 0]
        return F.normalize(readout.end(readout.pool.write(o)), dim=-1)

    def _block(
        self, layer: int, x: Float[Tensor, "image token d_model"], case: Case
    ) -> Float[Tensor, "image query d_model"]:
        """Return the residual stream after a block, what the case names of it replaced."""
        block = self.tower.blocks[layer]
        tokens = slice(None) if self.everywhere else self.tower.readout.tokens
        o = block.attend(x, queries(self.tower, layer)).clone()
        if layer in case.cls:
            alone = class_part(block, x)
            o[:, :, 0] += self._mean("class", layer, alone[0]) - alone
        if layer in case.heads:
            mean = self._mean("output", layer, o[0])
            for head in case.heads[layer]:
                o[:, head, tokens] = mean[head, tokens]
        x = x[:, : o.shape[2]] + block.write(o).update
        added = block.mlp(x)
        if layer in case.mlps:
            added = added.clone()
            added[:, tokens] = self._mean("mlp", layer, added[0])[tokens]
        return x + added

    def _mean(self, what: What, layer: int, like: Tensor) -> Tensor:
        """Return the mean of a part, or zeros."""
        if self.means is None:
            return torch.zeros_like(like)
        return self.means.mean(what, layer, like)


def direct(
    decomposer: Decomposer,
    parts: Mapping[Key, Tensor],
    whole: Decomposition,
    means: PositionSums | None,
    cases: Sequence[Case],
) -> Float[Tensor, "case image d_joint"]:
    """Return what the components' own contributions predict of `Replacing.total`.

    The last LayerNorm's scale and the norm are frozen, and nothing is normalised again.

    Args:
        decomposer: of the layers that the cases name.
        parts: of the pictures, and `whole` the rest (`parts_of`).
        means: None: of zero.
        cases: what is taken away.
    """

    def centred(what: What, layer: int) -> Tensor:
        own = parts[what, layer]
        return own if means is None else own - means.mean(what, layer, own)

    def joint(vectors: Tensor, layer: int, heads: Sequence[int]) -> Tensor:
        some = vectors[:, list(heads)]
        if layer not in decomposer.q:
            return some.sum(dim=1)
        return torch.einsum("bhi,hji->bj", some, decomposer.q[layer][list(heads)])

    found = []
    for case in cases:
        left = whole.embedding.clone()
        for layer, heads in case.heads.items():
            left -= joint(centred("vector", layer), layer, heads)
        for layer in case.mlps:
            left -= centred("mlp_vector", layer)
        for layer in case.cls:
            vectors = centred("class_vector", layer)
            kept = sorted(set(range(vectors.shape[1])) - set(case.heads.get(layer, ())))
            left -= joint(vectors, layer, kept)
        found.append(left)
    return torch.stack(found)
