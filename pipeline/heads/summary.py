"""Heads, summarised from their moments: the rows of heads.parquet and head_directions.parquet."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from pipeline.heads.moments import Key, Moments, effective_rank, head_keys, share
from schemas.names import head_name
from schemas.results.head_directions import head_directions_schema

# Directions with less than this share of the largest variance are rounding of half precision.
LEAST = 1e-6


def heads_table(moments: Mapping[Key, Moments], schema: pa.Schema) -> pa.Table:
    """Return one row per stored head: mean, variance, share of the output's variance, rank.

    Of image heads or of text heads, as `schema` says.
    """
    embedding = moments["embedding", -1, -1]
    rows = []
    for layer, head in head_keys(moments):
        found = moments["head", layer, head]
        rows.append(
            {
                "layer": layer,
                "head": head,
                "name": head_name(layer, head),
                "n": found.n,
                "mean": found.mean.astype(np.float32),
                "mean_norm": float(np.linalg.norm(found.mean)),
                "variance": found.variance,
                "variance_share": share(found, embedding),
                "effective_rank": None if found.traced else effective_rank(found.covariance),
            }
        )
    return pa.Table.from_pylist(rows, schema=schema)


def principal_directions(
    covariance: Float[np.ndarray, "d d"],
) -> tuple[Float[np.ndarray, " direction"], Float[np.ndarray, "direction d"]]:
    """Return the variances along a head's principal directions, and these as rows, largest first.

    Those of less than a millionth of the largest variance are left out. The sign is that which
    makes the entry of largest size positive.
    """
    values, vectors = np.linalg.eigh(covariance)
    kept = np.flatnonzero(values > LEAST * values[-1])[::-1]
    rows = vectors[:, kept].T
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    return values[kept], rows * np.sign(largest)


def directions_table(moments: Mapping[Key, Moments]) -> pa.Table:
    """Return each head's principal directions and their variances, the largest first.

    None of heads of whose covariance the trace alone is kept.
    """
    rows = []
    for layer, head in head_keys(moments):
        found = moments["head", layer, head]
        if found.traced:
            continue
        values, vectors = principal_directions(found.covariance)
        for number, (value, vector) in enumerate(zip(values, vectors, strict=True)):
            rows.append(
                {
                    "layer": layer,
                    "head": head,
                    "direction": number,
                    "variance": float(value),
                    "vector": vector.astype(np.float32),
                }
            )
    return pa.Table.from_pylist(rows, schema=head_directions_schema())


def component_shares(moments: Mapping[Key, Moments]) -> dict[Key, float]:
    """Return each component's share of the output's variance; with all layers they sum to 1.

    Components whose moments do not cover all pictures (not stored, and some pictures have since
    changed or vanished) are left out.
    """
    embedding = moments["embedding", -1, -1]
    return {
        key: share(found, embedding)
        for key, found in moments.items()
        if key[0] != "embedding" and found.n == embedding.n
    }


def stack(moments: Mapping[Key, Moments]) -> np.ndarray:
    """Return the covariances of all heads, [head, d_head, d_head], in the order of head_keys."""
    return np.stack([moments["head", *key].covariance for key in head_keys(moments)])
