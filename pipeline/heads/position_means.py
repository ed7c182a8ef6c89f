"""What heads write on average at each token: sums over pictures, which merge exactly.

A total effect replaces a head's output o_i by its mean at token i over the pictures (EFFECTS §1);
a direct effect compares the head's vector with the vectors' mean. Both means are kept as sums.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.towers.tower import Tower

_SCHEMA = pa.schema(
    [
        ("what", pa.string()),
        ("layer", pa.int16()),
        ("count", pa.int64()),
        ("shape", pa.list_(pa.int64())),
        ("sums", pa.list_(pa.float64())),
    ]
)


@dataclass
class PositionSums:
    """Sums over pictures, in float64.

    Attributes:
        count: pictures.
        outputs: by layer, o of every token and head; of the first token alone where no other
            token's query matters (the last layer of a class-token tower).
        vectors: by layer, every head's direct contribution, in its frame where it has one.
    """

    count: int = 0
    outputs: dict[int, Float[np.ndarray, "token n_heads d_head"]] = field(default_factory=dict)
    vectors: dict[int, Float[np.ndarray, "n_heads width"]] = field(default_factory=dict)

    def add(
        self,
        outputs: Mapping[int, Float[Tensor, "image n_heads token d_head"]],
        vectors: Mapping[int, Float[Tensor, "image n_heads width"]],
    ) -> None:
        """Add a batch of pictures."""
        more = PositionSums(
            len(next(iter(outputs.values()))),
            {n: o.double().sum(dim=0).transpose(0, 1).cpu().numpy() for n, o in outputs.items()},
            {n: v.double().sum(dim=0).cpu().numpy() for n, v in vectors.items()},
        )
        self.merge(more)

    def merge(self, other: "PositionSums") -> None:
        """Add the sums of other pictures."""
        self.count += other.count
        for mine, theirs in ((self.outputs, other.outputs), (self.vectors, other.vectors)):
            for layer, sums in theirs.items():
                mine[layer] = mine[layer] + sums if layer in mine else sums

    def mean_outputs(self, layer: int, like: Tensor) -> Float[Tensor, "n_heads token d_head"]:
        """Return the mean output of a layer at each token, on the device of `like`."""
        mean = torch.from_numpy(self.outputs[layer] / self.count).transpose(0, 1)
        return mean.to(like)

    def mean_vectors(self, layer: int, like: Tensor) -> Float[Tensor, "n_heads width"]:
        """Return the mean direct contribution of a layer's heads, on the device of `like`."""
        return torch.from_numpy(self.vectors[layer] / self.count).to(like)

    def to_table(self) -> pa.Table:
        """Return the sums as a table, a row for each layer and sum."""
        rows = [
            {
                "what": what,
                "layer": layer,
                "count": self.count,
                "shape": list(sums.shape),
                "sums": sums.reshape(-1),
            }
            for what, of in (("output", self.outputs), ("vector", self.vectors))
            for layer, sums in sorted(of.items())
        ]
        return pa.Table.from_pylist(rows, schema=_SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table) -> "PositionSums":
        """Return the sums of a table that `to_table` made; without rows, those of no picture."""
        found = cls()
        for row in table.to_pylist():
            found.count = row["count"]
            of = found.outputs if row["what"] == "output" else found.vectors
            of[row["layer"]] = np.array(row["sums"], np.float64).reshape(row["shape"])
        return found


def head_outputs(
    tower: Tower, pixels: Float[Tensor, "image 3 height width"], layers: Collection[int]
) -> dict[int, Float[Tensor, "image n_heads token d_head"]]:
    """Return o of some layers at every token whose query matters."""
    x = tower.embed(pixels)
    found = {}
    for layer, block in enumerate(tower.blocks[: max(layers) + 1]):
        o = block.attend(x, queries(tower, layer))
        if layer in layers:
            found[layer] = o
        x = x[:, : o.shape[2]] + block.write(o).update
        x = x + block.mlp(x)
    return found


def queries(tower: Tower, layer: int) -> int | None:
    """Return how many of the first tokens' queries matter in a layer; None for all."""
    return 1 if tower.readout.single and layer == tower.n_layers - 1 else None
