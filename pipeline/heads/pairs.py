"""The cosine of pictures with their texts, split by components of both (TOWERS §4).

    cos(I, T) = Σ_a Σ_b ⟨c_a(I), c_b(T)⟩

over components a of the picture's unit embedding and b of the text's. Over pairs (I, T) the means
of the entries sum to the mean cosine, and their covariances with it to its variance.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class PairMoments:
    """Moments of the table over pairs; merged exactly (Chan, Golub and LeVeque, 1983).

    Attributes:
        n: pairs.
        mean: of each entry.
        comoment: Σ (x − mean x)(cos − mean cos) of each entry; these sum to `m2`.
        cosine: mean of the cosine.
        m2: Σ (cos − mean cos)².
    """

    n: int
    mean: Float[np.ndarray, "image_part text_part"]
    comoment: Float[np.ndarray, "image_part text_part"]
    cosine: float
    m2: float

    def merge(self, other: "PairMoments") -> "PairMoments":
        """Return the moments of both sets of pairs together."""
        n = self.n + other.n
        delta, shift = other.mean - self.mean, other.cosine - self.cosine
        weight = self.n * other.n / n
        return PairMoments(
            n=n,
            mean=self.mean + delta * (other.n / n),
            comoment=self.comoment + other.comoment + delta * shift * weight,
            cosine=self.cosine + shift * other.n / n,
            m2=self.m2 + other.m2 + shift**2 * weight,
        )

    @property
    def shares(self) -> Float[np.ndarray, "image_part text_part"]:
        """Each entry's share of the cosine's variance, in all 1; NaN where it does not vary."""
        total = self.m2 if self.m2 > 0 else float("nan")
        found: np.ndarray = self.comoment / total
        return found


def pair_moments(
    pictures: Float[np.ndarray, "pair image_part d_joint"],
    texts: Float[np.ndarray, "pair text_part d_joint"],
) -> PairMoments:
    """Return the moments over pairs of a picture's components and its text's."""
    n = len(pictures)
    cosines = (pictures.sum(axis=1) * texts.sum(axis=1)).sum(axis=1)
    mean = float(cosines.mean())
    flat = texts.transpose(1, 0, 2).reshape(texts.shape[1], -1).T
    rows = pictures.transpose(1, 0, 2)
    centred = cosines - mean
    return PairMoments(
        n=n,
        mean=rows.reshape(len(rows), -1) @ flat / n,
        comoment=(rows * centred[:, None]).reshape(len(rows), -1) @ flat,
        cosine=mean,
        m2=float(centred @ centred),
    )
