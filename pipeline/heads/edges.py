"""Exact paths from head to head: what of a head's output comes from which earlier component.

With attention and the LayerNorms' scales as they are, a head's output at the tokens read is linear
in the residual stream that enters its layer, hence a sum over all that was added to it (EFFECTS
§2). For destination head (l', h'), its attention row a, w_i = a_i / σ_1(i), M = C diag(γ_1) W_V:

    o^{l',h'} = const + Σ_src (Σ_i w_i x_i^src) M,     const = β_1 W_V + b_V

src is every earlier head, MLP and attention bias, and the tokens that enter the first block. The
share of a source is ⟨part − mean, o − mean⟩ / var(o) over pictures: the shares of a head sum to 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.towers import norms
from pipeline.towers.block import Block, Written
from pipeline.towers.tower import Tower
from schemas.errors import UnsupportedModel

# Rows of a projection that are taken at a time, to read its matrix.
_ROWS = 32
_SCHEMA = pa.schema(
    [
        ("layer", pa.int16()),
        ("what", pa.string()),
        ("count", pa.int64()),
        ("shape", pa.list_(pa.int64())),
        ("sums", pa.list_(pa.float64())),
    ]
)


class Source(NamedTuple):
    """What something in the residual stream comes from.

    Attributes:
        kind: head, mlp, bias, init, or const: what is of no picture.
        layer: None where it has none, and `head` where it is no head.
    """

    kind: str
    layer: int | None = None
    head: int | None = None


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

    @torch.inference_mode()
    def __call__(self, pixels: Float[Tensor, "image 3 height width"]) -> Iterator[Rebuilt]:
        """Yield the heads of each layer and what they are made of, in order."""
        tower = self.tower
        x = tower.embed(pixels)
        init = x.to(self.dtype)
        heads: list[Tensor] = []
        added: list[tuple[Tensor, Tensor]] = []
        read = tower.readout.tokens
        for layer, block in enumerate(tower.blocks):
            y = block.norm(x)
            queries = 1 if tower.readout.single and layer == tower.n_layers - 1 else None
            q, k, v = block.project(y, queries)
            alpha = block.alpha(q, k)
            o = alpha.to(v.dtype) @ v
            a = alpha[:, :, read].mean(dim=2).to(self.dtype)
            norm: Any = block.norm
            w = a / norms.sigma_of(norm, x).to(self.dtype)[:, None]
            output = o[:, :, read].mean(dim=2).to(self.dtype)
            yield Rebuilt(layer, output, self._parts(layer, w, a, init, heads, added))
            written = block.write(o)
            x = x[:, : o.shape[2]] + written.update
            mlp = block.mlp(x)
            x = x + mlp
            heads.append(_scaled(o, written).to(self.dtype))
            added.append((self._bias(layer, written), mlp.to(self.dtype)))

    def _bias(self, layer: int, written: Written) -> Float[Tensor, "image token d_model"]:
        """Return what a layer's attention adds at each token whatever its heads say."""
        fixed, scaled = self.biases[layer]
        found = self._here(fixed).expand_as(written.update).clone()
        if scaled is not None and written.bias is not None:
            found += written.bias.to(self.dtype)[..., None] * self._here(scaled)
        return found

    def _parts(
        self,
        layer: int,
        w: Float[Tensor, "image n_heads token"],
        a: Float[Tensor, "image n_heads token"],
        init: Float[Tensor, "image token d_model"],
        heads: list[Tensor],
        added: list[tuple[Tensor, Tensor]],
    ) -> Float[Tensor, "image n_heads source d_head"]:
        matrix, const = (self._here(t) for t in self.reads[layer])

        def through(x: Tensor) -> Tensor:
            return torch.einsum("bhi,bid,hdk->bhk", w, x, matrix)[:, :, None]

        found = [const * a.sum(dim=-1)[..., None, None], through(init)]
        for below, (o, (bias, mlp)) in enumerate(zip(heads, added, strict=True)):
            weighed = torch.einsum("bgi,bhik->bghk", w, o)
            found.append(torch.einsum("bghk,hkgj->bghj", weighed, self._pair(below, layer)))
            found += [through(bias), through(mlp)]
        return torch.cat(found, dim=2)


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


@dataclass
class EdgeSums:
    """Sums over pictures of one tower's paths, in float64; they merge exactly.

    Attributes:
        count: pictures.
        layers: of each layer's heads: `parts` [head, source, d_head] and `products` ⟨part, o⟩
            [head, source], `outputs` o [head, d_head] and `squares` |o|² [head].
    """

    count: int = 0
    layers: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)

    def add(self, found: Rebuilt) -> None:
        """Add one layer of a batch; `count` is of the first layer."""
        parts, output = found.parts.double(), found.output.double()
        sums = {
            "parts": parts.sum(dim=0),
            "products": torch.einsum("bhsk,bhk->hs", parts, output),
            "outputs": output.sum(dim=0),
            "squares": (output**2).sum(dim=(0, 2)),
        }
        arrays = {name: value.cpu().numpy() for name, value in sums.items()}
        self.merge(EdgeSums(len(output) if found.layer == 0 else 0, {found.layer: arrays}))

    def merge(self, other: "EdgeSums") -> None:
        """Add the sums of other pictures."""
        self.count += other.count
        for layer, sums in other.layers.items():
            mine = self.layers.setdefault(layer, {})
            for name, value in sums.items():
                mine[name] = mine[name] + value if name in mine else value

    def shares(self, layer: int) -> Float[np.ndarray, "n_heads source"]:
        """Return each source's share of a layer's heads; NaN for a head that does not vary."""
        sums, n = self.layers[layer], self.count
        means = sums["parts"] / n, sums["outputs"] / n
        comoment = sums["products"] - n * np.einsum("hsk,hk->hs", *means)
        variance = sums["squares"] - n * (means[1] ** 2).sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found: np.ndarray = comoment / variance[:, None]
        return found

    def to_table(self) -> pa.Table:
        """Return the sums as a table, a row for each layer and sum."""
        rows = [
            {
                "layer": layer,
                "what": what,
                "count": self.count,
                "shape": list(value.shape),
                "sums": value.reshape(-1),
            }
            for layer, sums in sorted(self.layers.items())
            for what, value in sums.items()
        ]
        return pa.Table.from_pylist(rows, schema=_SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table) -> "EdgeSums":
        """Return the sums of a table that `to_table` made; without rows, those of no picture."""
        found = cls()
        for row in table.to_pylist():
            found.count = row["count"]
            value = np.array(row["sums"], np.float64).reshape(row["shape"])
            found.layers.setdefault(row["layer"], {})[row["what"]] = value
        return found
