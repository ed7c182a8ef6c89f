"""Exact paths from head to head: what of a head's output comes from which earlier component.

With attention and the LayerNorms' scales as they are, a head's output at the tokens read is linear
in the residual stream that enters its layer, hence a sum over all that was added to it (EFFECTS
§2). For destination head (l', h'), its attention row a, w_i = a_i / σ_1(i), M = C diag(γ_1) W_V:

    o^{l',h'} = const + Σ_src (Σ_i w_i x_i^src) M,     const = β_1 W_V + b_V

src is every earlier head, MLP and attention bias, and the tokens that enter the first block. The
share of a source is ⟨part − mean, o − mean⟩ / var(o) over pictures: the shares of a head sum to 1.

What a head writes into the embedding through later heads is its second-order effect: its part of
each of these, times T / σ, summed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.heads.edge_source import Source
from pipeline.towers import norms
from pipeline.towers.block import Block, Written
from pipeline.towers.forward import Step
from pipeline.towers.tower import Tower
from schemas.errors import UnsupportedModel

# Rows of a projection that are taken at a time, to read its matrix.
_ROWS = 32


class Rebuilt(NamedTuple):
    """The heads of one layer at the tokens read (their mean, where there are several).

    Attributes:
        layer: of these heads.
        output: o.
        parts: by source, in the order of `sources`; their sum is o.
    """

    layer: int
    output: Float[Tensor, "image n_heads d_head"]
    parts: Float[Tensor, "image n_heads source d_head"]


def sources(tower: Tower, layer: int) -> list[Source]:
    """Return what the heads of a layer can read."""
    found = [Source("const"), Source("init")]
    for below, block in enumerate(tower.blocks[:layer]):
        found += [Source("head", below, head) for head in range(block.n_heads)]
        found += [Source("bias", below), Source("mlp", below)]
    return found


class Edges:
    """The fixed maps of one tower's paths, held on its device."""

    def __init__(self, tower: Tower) -> None:
        """Read W_V of every head from the weights.

        Raises:
            UnsupportedModel: the tower pools by attention, gates its heads, or has a norm before
                the attention that is no LayerNorm: then no read-out token's head is a sum.
        """
        if tower.readout.pool is not None:
            raise UnsupportedModel(
                f"{tower.family} pools by attention: no token's head is read out, so there are no "
                "paths from head to head; headatlas effects measures its heads"
            )
        for layer, block in enumerate(tower.blocks):
            if block.gate is not None or not norms.is_layer_norm(block.norm):
                raise UnsupportedModel(
                    f"{tower.family}: attention of layer {layer} is gated, or what comes before it "
                    "is no LayerNorm; paths from head to head are then no sum"
                )
        self.tower = tower
        self.dtype = torch.float64 if tower.dtype == torch.float64 else torch.float32
        self.reads = [self._read(block) for block in tower.blocks]
        self.writes = [block.transform() for block in tower.blocks]
        self.biases = [block.biases() for block in tower.blocks]
        self.pairs: dict[tuple[int, int], Tensor] = {}
        self.read_biases: dict[tuple[int, int], tuple[Tensor, Tensor | None]] = {}
        self.downs: dict[int, Tensor] = {}
        plain = all(block.inner is None and block.post is None for block in tower.blocks)
        self.has_second = tower.readout.single or (tower.readout.early and plain)

    def _read(self, block: Block) -> tuple[Tensor, Tensor]:
        """Return M and const of a layer's heads in float64: [n_heads, d_model or 1, d_head]."""
        width = self.tower.d_model
        weight = _values(self.tower, block)
        bias, matrix = weight[:, :1], weight[:, 1:] - weight[:, :1]
        norm: Any = block.norm
        through = torch.stack([norms.through(norm, m) for m in matrix])
        return through, norms.shift_of(norm, width)[None] @ matrix + bias

    def _pair(self, below: int, layer: int) -> Float[Tensor, "n_heads d_head to_head to_width"]:
        """Return T M of each pair of heads of two layers, made once."""
        if (below, layer) not in self.pairs:
            made = torch.einsum("hkd,gdj->hkgj", self.writes[below], self.reads[layer][0])
            self.pairs[below, layer] = self._here(made)
        return self.pairs[below, layer]

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.tower.device, self.dtype)

    def _bias(
        self, below: int, layer: int
    ) -> tuple[Float[Tensor, "n_heads d_head"], Float[Tensor, "n_heads d_head"] | None]:
        """Return what a layer's heads read of an earlier attention's biases, made once.

        Of what is the same at each token, and of what is times the token's scale.
        """
        if (below, layer) not in self.read_biases:
            matrix = self.reads[layer][0]
            fixed, scaled = (None if b is None else b @ matrix for b in self.biases[below])
            assert fixed is not None
            self.read_biases[below, layer] = (
                self._here(fixed),
                None if scaled is None else self._here(scaled),
            )
        return self.read_biases[below, layer]

    def parts(
        self,
        layer: int,
        w: Float[Tensor, "image n_heads token"],
        a: Float[Tensor, "image n_heads token"],
        init: Float[Tensor, "image token d_model"],
        heads: list[Tensor],
        added: list[tuple[Tensor | None, Tensor]],
    ) -> Float[Tensor, "image n_heads source d_head"]:
        """Return what a layer's heads are made of, in the order of `sources`.

        Args:
            layer: of the heads.
            w: attention over tokens, divided by their scales.
            a: attention over tokens.
            init: tokens that enter the first block.
            heads: o of each earlier layer, times its token's scale.
            added: of each earlier layer the tokens' scales of its attention's bias, and the MLP.
        """
        matrix, const = (self._here(t) for t in self.reads[layer])

        def through(x: Tensor) -> Tensor:
            return torch.einsum("bhi,bid,hdk->bhk", w, x, matrix)[:, :, None]

        found = [const * a.sum(dim=-1)[..., None, None], through(init)]
        for below, (o, (scale, mlp)) in enumerate(zip(heads, added, strict=True)):
            weighed = torch.einsum("bgi,bhik->bghk", w, o)
            found.append(torch.einsum("bghk,hkgj->bghj", weighed, self._pair(below, layer)))
            fixed, scaled = self._bias(below, layer)
            bias = w.sum(dim=-1)[..., None] * fixed
            if scaled is not None and scale is not None:
                bias = bias + torch.einsum("bgi,bi->bg", w, scale)[..., None] * scaled
            found += [bias[:, :, None], through(mlp)]
        return torch.cat(found, dim=2)

    def second_order(
        self, found: Rebuilt, written: Written
    ) -> Float[Tensor, "image source d_joint"]:
        """Return what earlier heads write through a layer's heads, without σ and the norm.

        Of the sources that are heads, in their order; the part of a head that came from each, times
        its T to the embedding, summed over the layer's heads.
        """
        heads = [i for i, s in enumerate(sources(self.tower, found.layer)) if s.kind == "head"]
        parts = found.parts[:, :, heads]
        if written.heads is not None:
            parts = parts * written.heads[:, :1, None, None]
        return torch.einsum("bgsk,gkj->bsj", parts, self._down(found.layer))

    def _down(self, layer: int) -> Float[Tensor, "n_heads d_head d_joint"]:
        """Return T of a layer's heads to the embedding, made once."""
        if layer not in self.downs:
            through = self.tower.readout.map(self.tower.d_model)
            self.downs[layer] = self._here(self.writes[layer] @ through)
        return self.downs[layer]


class EdgeWalk:
    """The paths of a batch, found while its blocks are walked: shown to `on`, layer by layer.

    Attributes:
        second: what each earlier head writes through later ones, without σ and the norm; None
            where the tokens read have scales of their own, so that their mean is not enough.
    """

    def __init__(self, edges: Edges, on: Callable[[Rebuilt], None]) -> None:
        """Take the maps, and who is shown the heads of each layer."""
        self.edges, self.on = edges, on
        self.heads: list[Tensor] = []
        self.added: list[tuple[Tensor | None, Tensor]] = []
        self.second: Float[Tensor, "image source d_joint"] | None = None

    @torch.inference_mode()
    def __call__(self, step: Step) -> None:
        """Take in a block; the first of a batch begins anew."""
        edges, tower = self.edges, self.edges.tower
        block, read = tower.blocks[step.layer], tower.readout.tokens
        if step.layer == 0:
            self.init, self.heads, self.added = step.x.to(edges.dtype), [], []
            self.second = None
        _, q, k, _, o = step.attended
        alpha = block.alpha(q[:, :, :1] if tower.readout.single else q, k)[:, :, read]
        a = alpha.mean(dim=2).to(edges.dtype)
        norm: Any = block.norm
        w = a / norms.sigma_of(norm, step.x).to(edges.dtype)[:, None]
        output = o[:, :, read].mean(dim=2).to(edges.dtype)
        parts = edges.parts(step.layer, w, a, self.init, self.heads, self.added)
        found = Rebuilt(step.layer, output, parts)
        self.on(found)
        if edges.has_second and step.layer:
            more = edges.second_order(found, step.written)
            if self.second is not None:
                more[:, : self.second.shape[1]] += self.second
            self.second = more
        self.heads.append(_scaled(o, step.written).to(edges.dtype))
        scale = step.written.bias
        scale = None if scale is None else scale.to(edges.dtype)
        self.added.append((scale, step.mlp.to(edges.dtype)))


def _scaled(
    o: Float[Tensor, "image n_heads token d_head"], written: Written
) -> Float[Tensor, "image n_heads token d_head"]:
    return o if written.heads is None else o * written.heads[:, None, :, None]


@torch.inference_mode()
def _values(tower: Tower, block: Block) -> Float[Tensor, "n_heads rows d_head"]:
    """Return v of a normalised token of zeros, and of each unit vector, in float64.

    A projection may know how many tokens there are, so each goes in as all tokens of a picture.
    """
    tokens = tower.prefix + tower.grid[0] * tower.grid[1]
    rows = torch.cat([torch.zeros(1, tower.d_model), torch.eye(tower.d_model)])
    rows = rows.to(tower.device, block.out.weight.dtype)
    found = [
        block.project(some[:, None].expand(-1, tokens, -1), 1)[2][:, :, 0].double().cpu()
        for some in rows.split(_ROWS)
    ]
    return torch.cat(found).transpose(0, 1)
