"""Every component of an embedding in the joint space, so that they sum to it exactly."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from pipeline.heads.decompose import Decomposer, Decomposition
from pipeline.heads.moments import Key

REST = ("rest", -1, -1)


def in_joint_space(
    decomposer: Decomposer, found: Decomposition
) -> tuple[tuple[Key, ...], Float[np.ndarray, "image part d_joint"]]:
    """Return the components of decomposed inputs and their names, in float64.

    Heads of the stored layers, MLPs, biases, the first tokens, the constant, and the rest: heads of
    layers that are not stored, and rounding. They sum to the unit embedding.
    """
    scale = 1 / (found.sigma * found.norm)[:, None]
    parts: dict[Key, torch.Tensor] = {}
    for layer, vectors in found.vectors.items():
        if layer in decomposer.q:
            vectors = torch.einsum("bhi,hji->bhj", vectors, decomposer.q[layer])
        for head in range(vectors.shape[1]):
            parts["head", layer, head] = vectors[:, head]
    for layer in range(found.mlp.shape[1]):
        parts["mlp", layer, -1] = found.mlp[:, layer]
    for (kind, layer), direction in zip(decomposer.bias_keys, decomposer.bias, strict=True):
        parts[kind, layer, -1] = direction * scale
    for (kind, layer), part in found.others.items():
        parts[kind, layer, -1] = part
    if found.init is not None:
        parts["init", -1, -1] = found.init
    parts["const", -1, -1] = decomposer.const / found.norm[:, None]
    stacked = np.stack([part.double().cpu().numpy() for part in parts.values()], axis=1)
    return with_rest(tuple(parts), stacked, found.embedding.double().cpu().numpy())


def stored_in_joint_space(
    decomposer: Decomposer,
    vectors: Mapping[Key, Float[np.ndarray, "image _"]],
    embedding: Float[np.ndarray, "image d_joint"],
    sigma: Float[np.ndarray, " image"],
    norm: Float[np.ndarray, " image"],
) -> tuple[tuple[Key, ...], Float[np.ndarray, "image part d_joint"]]:
    """Return the components of stored pictures and their names, in float64.

    Those of `vectors` (heads in their frames; others in the joint space), the constant and the
    biases, which follow from σ and the norm, and the rest of the embedding. They sum to it.
    """
    scale = 1 / (sigma.astype(np.float64) * norm)[:, None]
    parts: dict[Key, np.ndarray] = {}
    for key, own in vectors.items():
        kind, layer, head = key
        framed = kind == "head" and layer in decomposer.q
        q = decomposer.q[layer][head].double().cpu().numpy() if framed else None
        parts[key] = own.astype(np.float64) if q is None else own.astype(np.float64) @ q.T
    directions = decomposer.bias.double().cpu().numpy()
    for (kind, layer), direction in zip(decomposer.bias_keys, directions, strict=True):
        parts[kind, layer, -1] = direction * scale
    parts["const", -1, -1] = decomposer.const.double().cpu().numpy() / norm[:, None]
    stacked = np.stack(list(parts.values()), axis=1)
    return with_rest(tuple(parts), stacked, embedding.astype(np.float64))


def with_rest(
    keys: tuple[Key, ...],
    parts: Float[np.ndarray, "image part d_joint"],
    embedding: Float[np.ndarray, "image d_joint"],
) -> tuple[tuple[Key, ...], Float[np.ndarray, "image _ d_joint"]]:
    """Return the parts and what is left of the embedding."""
    rest = embedding - parts.sum(axis=1)
    return (*keys, REST), np.concatenate([parts, rest[:, None]], axis=1)
