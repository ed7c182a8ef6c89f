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


@dataclass(frozen=True)
class Precision:
    """How well neighbours share a query's attribute, averaged over queries.

    Attributes:
        precision: share of the k nearest pictures that have the query's value.
        average_precision: mean over queries of the average precision of the whole ranking (mAP).
        chance: share of pictures that have the query's value.
    """

    precision: float
    average_precision: float
    chance: float


def precision_of(
    vectors: Float[np.ndarray, "image d"],
    values: dict[str, Int[np.ndarray, " image"]],
    queries: Int[np.ndarray, " query"],
    k: int,
) -> dict[str, Precision]:
    """Retrieve by cosine of centred vectors, and score against each attribute's values.

    Args:
        vectors: one head's, or embeddings.
        values: by attribute, a code for each picture; -1 where it has none (never a match).
        queries: rows to ask with; a picture is not its own neighbour.
        k: neighbours of precision@k.
    """
    v = vectors.astype(np.float32)
    v -= v.mean(axis=0)
    length = np.linalg.norm(v, axis=1, keepdims=True)
    v = np.divide(v, length, out=np.zeros_like(v), where=length > 0)
    scores = v[queries] @ v.T
    scores[np.arange(len(queries)), queries] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :-1]
    ranks = np.arange(1, order.shape[1] + 1)
    found = {}
    for name, codes in values.items():
        asked = codes[queries]
        usable = asked >= 0
        hits = (codes[order] == asked[:, None])[usable]
        total = hits.sum(axis=1)
        ranked = (np.cumsum(hits, axis=1) / ranks * hits).sum(axis=1)
        found[name] = Precision(
            float(hits[:, :k].mean()) if hits.size else 0.0,
            float((ranked / np.maximum(total, 1)).mean()) if hits.size else 0.0,
            float(hits.mean()) if hits.size else 0.0,
        )
    return found
