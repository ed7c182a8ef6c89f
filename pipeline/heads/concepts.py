"""How much of a head the texts of one property explain, from moments.

A restricted dictionary, as Head Pursuit ranks heads for a concept (arXiv 2510.21518): only the
texts about it are atoms, and simultaneous orthogonal matching pursuit picks a few. The control is a
head of the same layer drawn at random, since what any text explains grows with depth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pipeline.heads.textspan import PerHead, textspan


@dataclass(frozen=True)
class ConceptShares:
    """Shares of heads' variance.

    Attributes:
        properties: of the columns.
        texts: texts used of each property.
        share: explained by the texts of the property.
        ceiling: explained by as many principal directions.
    """

    properties: tuple[str, ...]
    texts: Int[np.ndarray, " property"]
    share: Float[np.ndarray, "head property"]
    ceiling: Float[np.ndarray, "head property"]


def concept_shares(
    covariance: PerHead,
    frames_q: PerHead,
    texts: Float[np.ndarray, "text d_joint"],
    about: Mapping[str, Sequence[int]],
    steps: int,
) -> ConceptShares:
    """Return what up to `steps` texts of each property explain of each head.

    Args:
        covariance: of the heads' vectors.
        frames_q: head frames.
        texts: unit-norm embeddings of the pool.
        about: by property, which texts are about it.
        steps: texts of a property.
    """
    names = tuple(sorted(about))
    share = np.zeros((len(covariance), len(names)))
    ceiling = np.zeros_like(share)
    for column, name in enumerate(names):
        some = textspan(covariance, frames_q, texts[list(about[name])], steps, renormalise=True)
        share[:, column] = some.explained.sum(axis=1)
        ceiling[:, column] = some.pca_cumulative[:, -1]
    used = np.array([min(steps, len(about[name])) for name in names])
    return ConceptShares(names, used, share, ceiling)


def layer_others(
    share: Float[np.ndarray, "head property"], layers: Sequence[int]
) -> Float[np.ndarray, "head property"]:
    """Return for each head the mean over the other heads of its layer; NaN where it is alone."""
    where = np.asarray(layers)
    found = np.full(share.shape, np.nan)
    for layer in np.unique(where):
        here = share[where == layer]
        if len(here) > 1:
            found[where == layer] = (here.sum(axis=0) - here) / (len(here) - 1)
    return found
