"""What components write on average at each token: sums over pictures, which merge exactly.

A total effect replaces a head's output o_i by its mean at token i over the pictures (EFFECTS §1);
a direct effect compares the head's vector with the vectors' mean. Both means are kept as sums, and
where they are asked for those of MLPs and of the class token's attention to itself.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.heads.decompose import Decomposer, Decomposition
from pipeline.heads.frames import head_frames
from pipeline.heads.sums import sums_of, sums_table
from pipeline.towers.block import Block
from pipeline.towers.forward import Step
from pipeline.towers.tower import Tower

What = Literal["output", "vector", "mlp", "mlp_vector", "class", "class_vector"]
Key = tuple[What, int]
"""What is summed of which layer:

- output: o of every head and token [n_heads, token, d_head]; of the first token alone where no
  other token's query matters (the last layer of a class-token tower); of the pool's heads, as layer
  n_layers, [n_heads, 1, width];
- vector: every head's direct contribution, in its frame where it has one [n_heads, width];
- mlp: what the MLP adds at each token [token, d_model], and `mlp_vector` to the embedding;
- class: α_00 v_0 of every head [n_heads, d_head], and `class_vector` in the head's frame.
"""


@dataclass(frozen=True)
class Layers:
    """Layers whose parts are wanted.

    Attributes:
        heads: whose heads; n_layers for those of the pool.
        mlps: whose MLP.
        cls: whose class token's attention to itself.
    """

    heads: Collection[int] = ()
    mlps: Collection[int] = ()
    cls: Collection[int] = ()


@dataclass
class PositionSums:
    """Sums over pictures, in float64.

    Attributes:
        count: pictures.
        sums: of each part.
    """

    count: int = 0
    sums: dict[Key, np.ndarray] = field(default_factory=dict)

    def add(self, parts: Mapping[Key, Tensor]) -> None:
        """Add a batch of pictures, each part's first axis."""
        count = len(next(iter(parts.values())))
        self.merge(
            PositionSums(count, {k: p.double().sum(dim=0).cpu().numpy() for k, p in parts.items()})
        )

    def merge(self, other: "PositionSums") -> None:
        """Add the sums of other pictures."""
        self.count += other.count
        for key, sums in other.sums.items():
            self.sums[key] = self.sums[key] + sums if key in self.sums else sums

    def mean(self, what: What, layer: int, like: Tensor) -> Tensor:
        """Return the mean of a part, on the device of `like` and in its precision."""
        return torch.from_numpy(self.sums[what, layer] / self.count).to(like)

    def mean_outputs(self, layer: int, like: Tensor) -> Float[Tensor, "n_heads token d_head"]:
        """Return the mean output of a layer at each token, on the device of `like`."""
        return self.mean("output", layer, like)

    def mean_vectors(self, layer: int, like: Tensor) -> Float[Tensor, "n_heads width"]:
        """Return the mean direct contribution of a layer's heads, on the device of `like`."""
        return self.mean("vector", layer, like)

    def to_table(self) -> pa.Table:
        """Return the sums as a table, a row for each layer and sum."""
        return sums_table(self.count, dict(sorted(self.sums.items())))

    @classmethod
    def from_table(cls, table: pa.Table) -> "PositionSums":
        """Return the sums of a table that `to_table` made; without rows, those of no picture."""
        count, sums = sums_of(table)
        return cls(count, cast(dict[Key, np.ndarray], sums))


def token_parts(
    tower: Tower, pixels: Float[Tensor, "image 3 height width"], layers: Layers
) -> dict[Key, Tensor]:
    """Return what some components write at every token whose query matters: see `Key`.

    `class_vector` here is α_00 v_0 times the token's scale, which `parts_of` turns into the frame.
    """
    x = tower.start(pixels)
    found: dict[Key, Tensor] = {}
    for layer, block in enumerate(tower.blocks):
        some = queries(tower, layer)
        o = block.attend(x, some)
        written = block.write(o)
        if layer in layers.heads:
            found["output", layer] = o
        if layer in layers.cls:
            alone = class_part(block, x)
            scale = 1 if written.heads is None else written.heads[:, :1, None]
            found["class", layer] = alone
            found["class_vector", layer] = alone * scale
        x = x[:, : o.shape[2]] + written.update
        added = block.mlp(x)
        if layer in layers.mlps:
            found["mlp", layer] = added
        x = x + added
    if tower.pool_layer in layers.heads:
        found["output", tower.n_layers] = pool_outputs(tower, x)[:, :, None]
    return found


def decomposer_for(tower: Tower, layers: Layers) -> Decomposer:
    """Return the decomposition that `parts_of` needs for some components."""
    framed = sorted({*layers.heads, *layers.cls})
    return Decomposer(tower, head_frames(tower, framed), mlp=bool(layers.mlps))


def parts_of(
    decomposer: Decomposer, pixels: Float[Tensor, "image 3 height width"], layers: Layers
) -> tuple[dict[Key, Tensor], Decomposition]:
    """Return all parts of some components, at tokens and in the embedding, and the rest of it."""
    found = token_parts(decomposer.tower, pixels, layers)
    whole = decomposer(pixels)
    for layer in layers.heads:
        found["vector", layer] = whole.vectors[layer]
    for layer in layers.mlps:
        found["mlp_vector", layer] = whole.mlp[:, layer]
    for layer in layers.cls:
        own = found["class_vector", layer].to(decomposer.r[layer])
        framed = torch.einsum("bhi,hji->bhj", own, decomposer.r[layer])
        found["class_vector", layer] = framed / (whole.sigma * whole.norm)[:, None, None]
    return found, whole


class MeansWatch:
    """Adds up what heads put out at each token while a batch is decomposed."""

    def __init__(self, layers: Collection[int]) -> None:
        """Take the layers."""
        self.layers, self.sums = layers, PositionSums()

    def __call__(self, step: Step) -> None:
        """Take in a block."""
        if step.layer in self.layers:
            o = step.attended.o
            # the sum over a batch in single precision, batches in double
            total = o.sum(dim=0, dtype=torch.promote_types(o.dtype, torch.float32))
            at: tuple[What, int] = ("output", step.layer)
            one = {at: total.double().cpu().numpy()}
            self.sums.merge(PositionSums(len(o) if step.layer == min(self.layers) else 0, one))

    def take(self, found: Decomposition) -> PositionSums:
        """Return the sums over what was decomposed since, and begin anew."""
        for layer in self.layers:
            total = found.vectors[layer].double().sum(dim=0).cpu().numpy()
            self.sums.merge(PositionSums(0, {("vector", layer): total}))
        taken, self.sums = self.sums, PositionSums()
        return taken


def class_part(
    block: Block, x: Float[Tensor, "image token d_model"]
) -> Float[Tensor, "image n_heads d_head"]:
    """Return α_00 v_0, gated: what each head's class token reads of itself."""
    y = block.norm(x)
    q, k, v = block.project(y, 1)
    alone = block.alpha(q, k)[..., :1].to(v.dtype) * v[:, :, :1]
    return block.gated(alone, y)[:, :, 0]


def pool_outputs(
    tower: Tower, x: Float[Tensor, "image token d_model"]
) -> Float[Tensor, "image pool_head width"]:
    """Return o of the pool's heads from the last residual stream."""
    readout = tower.readout
    assert readout.pool is not None
    return readout.pool.attend(readout.normed(x))


def queries(tower: Tower, layer: int) -> int | None:
    """Return how many of the first tokens' queries matter in a layer; None for all."""
    return 1 if tower.readout.single and layer == tower.n_layers - 1 else None
