"""Moments of contributions: count, mean and second moment, mergeable exactly (DESIGN §2).

Mean-ablation, variance, shares and TextSpan need nothing else of a data set. Merging follows Chan,
Golub and LeVeque (1983); everything is float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Float16, Float32

from schemas.files import moments_schema


@dataclass(frozen=True)
class Moments:
    """Moments of one component.

    Attributes:
        n: pictures counted.
        mean: mean of the component's vector v, in its own frame.
        m2: Σ (v − mean)(v − mean)ᵀ; for components other than heads only its trace, as [1, 1].
        embedding_mean: mean of the embedding e, in the same frame.
        comoment: Σ ⟨v − mean, e − mean(e)⟩.
    """

    n: int
    mean: Float[np.ndarray, " d"]
    m2: Float[np.ndarray, "k k"]
    embedding_mean: Float[np.ndarray, " d"]
    comoment: float

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of pictures together."""
        n = self.n + other.n
        if n == 0:
            return self
        delta, shift = other.mean - self.mean, other.embedding_mean - self.embedding_mean
        weight = self.n * other.n / n
        spread = np.array([[delta @ delta]]) if self.traced else np.outer(delta, delta)
        return Moments(
            n=n,
            mean=self.mean + delta * (other.n / n),
            m2=self.m2 + other.m2 + spread * weight,
            embedding_mean=self.embedding_mean + shift * (other.n / n),
            comoment=self.comoment + other.comoment + float(delta @ shift) * weight,
        )

    @property
    def traced(self) -> bool:
        """Whether of m2 the trace alone is kept."""
        return self.m2.shape[0] == 1 < self.mean.shape[0]

    @property
    def covariance(self) -> Float[np.ndarray, "k k"]:
        """Population covariance, m2 / n."""
        return self.m2 / max(self.n, 1)

    @property
    def variance(self) -> float:
        """Total variance over pictures, the trace of the covariance."""
        return float(np.trace(self.m2)) / max(self.n, 1)


Key = tuple[str, int, int]


def head_moments(
    vectors: Float16[np.ndarray, "image d"],
    embedding: Float32[np.ndarray, "image d_joint"],
    q: Float[np.ndarray, "d_joint d"],
) -> Moments:
    """Return the moments of one head from its stored vectors and the pictures' embeddings."""
    projected = (embedding @ q.astype(np.float32)).astype(np.float64)
    return _moments(vectors.astype(np.float64), projected, full=True)


def joint_moments(
    vectors: Float[np.ndarray, "image d_joint"], embedding: Float32[np.ndarray, "image d_joint"]
) -> Moments:
    """Return the moments of a component that lives in the joint space (trace of m2 only)."""
    return _moments(vectors.astype(np.float64), embedding.astype(np.float64), full=False)


def direction_moments(
    scale: Float[np.ndarray, " image"],
    direction: Float[np.ndarray, " d_joint"],
    embedding: Float32[np.ndarray, "image d_joint"],
) -> Moments:
    """Return the moments of scale_i · direction: b_O, and beta·P, which only vary in length."""
    e = embedding.astype(np.float64)
    mean, e_mean = float(scale.mean()), e.mean(axis=0)
    centred = scale - mean
    return Moments(
        n=len(scale),
        mean=mean * direction,
        m2=np.array([[float(centred @ centred) * float(direction @ direction)]]),
        embedding_mean=e_mean,
        comoment=float(centred @ (e @ direction)),
    )


def _moments(
    v: Float[np.ndarray, "image d"], e: Float[np.ndarray, "image d"], *, full: bool
) -> Moments:
    if len(v) == 0:
        width = v.shape[1]
        empty = np.zeros((width, width) if full else (1, 1))
        return Moments(0, np.zeros(width), empty, np.zeros(width), 0.0)
    mean, e_mean = v.mean(axis=0), e.mean(axis=0)
    centred = v - mean
    m2 = centred.T @ centred if full else np.array([[np.vdot(centred, centred)]])
    return Moments(len(v), mean, m2, e_mean, float(np.vdot(centred, e - e_mean)))


def shard_moments(
    contributions: Mapping[int, Float16[np.ndarray, "_ image _"]],
    embedding: Float32[np.ndarray, "image d_joint"],
    mlp: Mapping[int, np.ndarray],
    frames_q: Mapping[int, Float[np.ndarray, "_ d_joint _"]],
) -> dict[Key, Moments]:
    """Return the moments of what a shard stores: its heads, its stored MLPs, and the embedding.

    Of heads without a frame, stored in the joint space itself, the trace of m2 alone.
    """
    found: dict[Key, Moments] = {("embedding", -1, -1): joint_moments(embedding, embedding)}
    for layer, heads in contributions.items():
        for head, vectors in enumerate(heads):
            if layer in frames_q:
                moments = head_moments(vectors, embedding, frames_q[layer][head])
            else:
                moments = joint_moments(vectors, embedding)
            found["head", layer, head] = moments
    for layer, vectors in mlp.items():
        found["mlp", layer, -1] = joint_moments(vectors, embedding)
    return found


def to_table(moments: Mapping[Key, Moments]) -> pa.Table:
    """Return moments as rows of moments.parquet, sorted by component, layer and head."""
    keys = sorted(moments)
    rows = [moments[key] for key in keys]
    schema = moments_schema()
    columns = [
        [key[0] for key in keys],
        [key[1] for key in keys],
        [key[2] for key in keys],
        [row.n for row in rows],
        [row.mean for row in rows],
        [row.m2.ravel() for row in rows],
        [row.embedding_mean for row in rows],
        [row.comoment for row in rows],
    ]
    arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def from_table(table: pa.Table) -> dict[Key, Moments]:
    """Read moments back, merging rows of one component (those of several shards)."""
    found: dict[Key, Moments] = {}
    names = ("mean", "m2", "embedding_mean")
    scalars = [table[name].to_pylist() for name in ("component", "layer", "head", "n", "comoment")]
    vectors = [table[name] for name in names]
    for i, (component, layer, head, n, comoment) in enumerate(zip(*scalars, strict=True)):
        mean, m2, e_mean = (v[i].values.to_numpy() for v in vectors)
        side = round(len(m2) ** 0.5)
        row = Moments(n, mean, m2.reshape(side, side), e_mean, comoment)
        key = (component, layer, head)
        found[key] = found[key].merge(row) if key in found else row
    return found


def share(component: Moments, embedding: Moments) -> float:
    """Return the share of the output's variance: Σ⟨v − v̄, e − ē⟩ / Σ‖e − ē‖²; these sum to 1."""
    total = float(np.trace(embedding.m2))
    return component.comoment / total if total > 0 else 0.0


def effective_rank(covariance: Float[np.ndarray, "d d"]) -> float:
    """Return exp of the entropy of the eigenvalues' shares; 0 where nothing varies."""
    values = np.clip(np.linalg.eigvalsh(covariance), 0, None)
    total = values.sum()
    if total <= 0:
        return 0.0
    p = values[values > 0] / total
    return float(np.exp(-(p * np.log(p)).sum()))


def head_keys(moments: Mapping[Key, Moments]) -> Sequence[tuple[int, int]]:
    """Return (layer, head) of all heads present, sorted."""
    return sorted((key[1], key[2]) for key in moments if key[0] == "head")
