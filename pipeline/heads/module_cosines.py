"""How each layer's attention and MLP point: cosines with texts and with the embedding, by layer.

Figure 8 of CLIP Surgery (arXiv 2304.05653), on exact direct contributions: what a module adds to
the embedding, all heads of an attention and its bias as one, with the last LayerNorm's scale as it
is. Sums over pictures are kept, so that chunks add up.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from pipeline.heads.decompose import Component, Decomposer, Decomposition

TRUE, WRONG, EMBEDDING = "true text", "wrong text", "embedding"
TARGETS: Final = (TRUE, WRONG, EMBEDDING)
_SCHEMA: Final = pa.schema(
    [
        ("module", pa.string()),
        ("layer", pa.int16()),
        ("n", pa.int64()),
        ("total", pa.list_(pa.float64())),
        ("squares", pa.list_(pa.float64())),
    ]
)


def module_cosines(
    decomposer: Decomposer,
    found: Decomposition,
    weights: Float[Tensor, "class d_joint"],
    truth: Int[Tensor, " image"],
) -> dict[Component, Float[Tensor, "image target"]]:
    """Return each module's cosines with the `TARGETS`, by `attention` or `mlp` and layer.

    Args:
        decomposer: of the tower, with frames of all its layers.
        found: a batch, decomposed.
        weights: unit-norm class weights, two or more.
        truth: each picture's class. The wrong text is the other class that the embedding is
            nearest to.
    """
    logits = found.embedding @ weights.T
    own = torch.nn.functional.one_hot(truth, len(weights)).bool()
    wrong = logits.masked_fill(own, -torch.inf).argmax(dim=1)
    targets = torch.stack([weights[truth], weights[wrong], found.embedding], dim=1)
    return {
        key: torch.einsum("bj,btj->bt", normalize(added, dim=1), targets)
        for key, added in decomposer.modules(found).items()
    }


@dataclass
class CosineSums:
    """Sums of cosines over pictures, by module and layer.

    Attributes:
        n: pictures.
        total: Σ cosine, by target.
        squares: Σ cosine².
    """

    n: dict[Component, int] = field(default_factory=dict)
    total: dict[Component, Float[np.ndarray, " target"]] = field(default_factory=dict)
    squares: dict[Component, Float[np.ndarray, " target"]] = field(default_factory=dict)

    def add(self, cosines: dict[Component, Float[Tensor, "image target"]]) -> None:
        """Add a batch."""
        for key, values in cosines.items():
            rows = values.double().cpu().numpy()
            self._add(key, len(rows), rows.sum(axis=0), (rows**2).sum(axis=0))

    def merge(self, other: "CosineSums") -> None:
        """Add the sums over other pictures."""
        for key, n in other.n.items():
            self._add(key, n, other.total[key], other.squares[key])

    def _add(self, key: Component, n: int, total: np.ndarray, squares: np.ndarray) -> None:
        self.n[key] = self.n.get(key, 0) + n
        self.total[key] = self.total.get(key, np.zeros(len(TARGETS))) + total
        self.squares[key] = self.squares.get(key, np.zeros(len(TARGETS))) + squares

    def means(self, key: Component) -> tuple[np.ndarray, np.ndarray]:
        """Return a module's mean cosine with each target, and its standard deviation."""
        mean = self.total[key] / self.n[key]
        return mean, np.sqrt(np.maximum(self.squares[key] / self.n[key] - mean**2, 0))

    def to_table(self) -> pa.Table:
        """Return the sums as rows."""
        rows = [
            {
                "module": key[0],
                "layer": key[1],
                "n": n,
                "total": self.total[key],
                "squares": self.squares[key],
            }
            for key, n in self.n.items()
        ]
        return pa.Table.from_pylist(rows, schema=_SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table) -> "CosineSums":
        """Read what `to_table` wrote."""
        found = cls()
        for row in table.to_pylist():
            key = row["module"], row["layer"]
            found._add(key, row["n"], np.array(row["total"]), np.array(row["squares"]))
        return found
