"""Paths over many pictures: sums that merge exactly, and the shares that are made of them."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.heads.decompose import Decomposition
from pipeline.heads.edges import Edges, EdgeWalk, Rebuilt
from pipeline.heads.sums import sums_of, sums_table
from pipeline.towers.forward import Step

# Stands for no layer: what heads write through later ones.
SECOND = -1


@dataclass
class EdgeSums:
    """Sums over pictures of one tower's paths, in float64; they merge exactly.

    Attributes:
        count: pictures.
        layers: of each layer's heads: `parts` [head, source, d_head] and `products` ⟨part, o⟩
            [head, source], `outputs` o [head, d_head] and `squares` |o|² [head]. Of layer `SECOND`
            what heads write through later ones into the embedding e: `parts` [head, d_joint],
            `products` ⟨part, e⟩ [head], `outputs` e [d_joint], `squares` |e|² [].
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

    def add_second(
        self,
        second: Float[Tensor, "image source d_joint"],
        embedding: Float[Tensor, "image d_joint"],
    ) -> None:
        """Add what each head but the last layer's writes through later ones, of a batch."""
        parts, e = second.double(), embedding.double()
        sums = {
            "parts": parts.sum(dim=0),
            "products": torch.einsum("bsj,bj->s", parts, e),
            "outputs": e.sum(dim=0),
            "squares": (e**2).sum(),
        }
        arrays = {name: np.asarray(value.cpu().numpy()) for name, value in sums.items()}
        self.merge(EdgeSums(0, {SECOND: arrays}))

    def second_shares(self) -> Float[np.ndarray, " source"] | None:
        """Return each head's second-order share of the embedding's variance; None if unknown.

        ⟨s − mean, e − mean⟩ / var(e), as a component's direct share; by layer and head.
        """
        if SECOND not in self.layers:
            return None
        sums, n = self.layers[SECOND], self.count
        comoment = sums["products"] - sums["parts"] @ sums["outputs"] / n
        variance = sums["squares"] - (sums["outputs"] ** 2).sum() / n
        with np.errstate(divide="ignore", invalid="ignore"):
            found: np.ndarray = comoment / variance
        return found

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
        layers = sorted(self.layers.items())
        sums = {(what, at): value for at, named in layers for what, value in named.items()}
        return sums_table(self.count, sums)

    @classmethod
    def from_table(cls, table: pa.Table) -> "EdgeSums":
        """Return the sums of a table that `to_table` made; without rows, those of no picture."""
        count, sums = sums_of(table)
        found = cls(count)
        for (what, layer), value in sums.items():
            found.layers.setdefault(layer, {})[what] = value
        return found


class EdgeWatch:
    """Adds up the paths of a batch while it is decomposed: a watch of `Decomposer`."""

    def __init__(self, edges: Edges) -> None:
        """Take the maps."""
        self.sums = EdgeSums()
        self.walk = EdgeWalk(edges, self.sums.add)

    def __call__(self, step: Step) -> None:
        """Take in a block."""
        self.walk(step)

    def take(self, found: Decomposition) -> EdgeSums:
        """Return the sums over what was decomposed since, and begin anew."""
        if self.walk.second is not None:
            scale = 1 / (found.sigma * found.norm)
            self.sums.add_second(self.walk.second * scale[:, None, None], found.embedding)
        taken, self.sums = self.sums, EdgeSums()
        self.walk.on, self.walk.second = self.sums.add, None
        return taken
