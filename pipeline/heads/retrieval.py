"""Pictures alike in what chosen heads write: cosines or dot products of their contributions.

Several heads together are one long vector: their frames' coordinates laid end to end. That is the
cosine of Σ c over heads only if the heads write to orthogonal directions; it asks for likeness in
every head.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from schemas.config import Metric


@dataclass
class Scores:
    """Sums over heads, from which each picture's score follows.

    Attributes:
        metric: `cosine` or `dot`.
        dot: Σ over heads of ⟨v, q⟩.
        squares: Σ over heads of ‖v‖².
        query: Σ over heads of ‖q‖².
    """

    metric: Metric
    dot: Float[np.ndarray, " image"] = field(default_factory=lambda: np.empty(0))
    squares: Float[np.ndarray, " image"] = field(default_factory=lambda: np.empty(0))
    query: float = 0.0

    def add(
        self,
        vectors: Float[np.ndarray, "image d_head"],
        query: Float[np.ndarray, " d_head"],
        mean: Float[np.ndarray, " d_head"] | None,
    ) -> None:
        """Take in one head; `mean` is taken off the vectors (the query comes centred)."""
        v = vectors.astype(np.float32)
        if mean is not None:
            v -= mean.astype(np.float32)
        q = query.astype(np.float32)
        dot, squares = v @ q, np.einsum("nd,nd->n", v, v)
        self.dot = dot if not self.dot.size else self.dot + dot
        self.squares = squares if not self.squares.size else self.squares + squares
        self.query += float(q @ q)

    def values(self) -> Float[np.ndarray, " image"]:
        """Return each picture's score; 0 where a vector has no length."""
        if self.metric == "dot":
            return self.dot
        length = np.sqrt(self.squares * self.query)
        return np.divide(self.dot, length, out=np.zeros_like(self.dot), where=length > 0)


def best(
    scores: Float[np.ndarray, " image"], ids: Int[np.ndarray, " image"], k: int
) -> Int[np.ndarray, " rank"]:
    """Return the rows of the k highest scores, ties by smaller id."""
    return np.lexsort((ids, -scores))[:k]
