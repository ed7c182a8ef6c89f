"""How alike two heads are: linear CKA from cross-moments (Kornblith et al. 2019, arXiv 1905.00414).

With C_ab the covariance of what two heads write over the same pictures,

    CKA(a, b) = ‖C_ab‖² / (‖C_aa‖ ‖C_bb‖)        Frobenius norms,

1 where one is the other turned and scaled, and the same whatever frames they are stored in, so that
heads of two models can be compared. Only Σ v_a v_bᵀ is needed: sums over shards add up.

When the pictures of one of the two are permuted, n ‖C_ab‖² has mean tr C_aa tr C_bb n / (n − 1) and
tends to Σ_ij λ_i μ_j χ²_1, λ and μ the eigenvalues of C_aa and C_bb; its tail is computed as that
of attributes is, so no permutation is run and p-values have no floor.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from pipeline.heads.attributes import cumulant_tail


@dataclass(frozen=True)
class CrossSums:
    """Sums over pictures of two stacks of heads, x and y, each picture's vectors side by side.

    Attributes:
        n: pictures.
        x: Σ x.
        y: Σ y.
        product: Σ x yᵀ.
    """

    n: int
    x: Float[np.ndarray, " width"]
    y: Float[np.ndarray, " other_width"]
    product: Float[np.ndarray, "width other_width"]

    def add(
        self,
        x: Float[np.ndarray, "image width"],
        y: Float[np.ndarray, "image other_width"],
    ) -> "CrossSums":
        """Return the sums with more pictures; `product` is changed in place.

        For exactness x and y should be near their means: take the same shift from all of them.
        """
        np.add(self.product, x.T @ y, out=self.product)
        return CrossSums(
            self.n + len(x), self.x + x.sum(axis=0), self.y + y.sum(axis=0), self.product
        )

    @property
    def covariance(self) -> Float[np.ndarray, "width other_width"]:
        """Population covariance of x and y."""
        n = max(self.n, 1)
        found: np.ndarray = self.product / n - np.outer(self.x / n, self.y / n)
        return found


def no_sums(width: int, other_width: int) -> CrossSums:
    """Return the sums over no picture."""
    return CrossSums(0, np.zeros(width), np.zeros(other_width), np.zeros((width, other_width)))


def side_by_side(
    vectors: Float[np.ndarray, "head image d"], shift: Float[np.ndarray, "head d"]
) -> Float[np.ndarray, "image width"]:
    """Return each picture's vectors of all heads as one row in float64, less `shift`."""
    moved = vectors.astype(np.float64) - shift[:, None]
    rows: np.ndarray = moved.transpose(1, 0, 2).reshape(vectors.shape[1], shift.size)
    return rows


def squared_norms(
    covariance: Float[np.ndarray, "width other_width"], heads: int, others: int
) -> Float[np.ndarray, "heads others"]:
    """Return ‖C_ab‖² of each pair of heads whose covariances stand beside each other."""
    d, e = covariance.shape[0] // heads, covariance.shape[1] // others
    tiles = covariance.reshape(heads, d, others, e)
    return np.einsum("adbe,adbe->ab", tiles, tiles)


@dataclass(frozen=True)
class Spectra:
    """Sums of powers of the eigenvalues of each head's covariance C.

    Attributes:
        first: tr C, the total variance.
        second: tr C² = ‖C‖².
        third: tr C³.
    """

    first: Float[np.ndarray, " head"]
    second: Float[np.ndarray, " head"]
    third: Float[np.ndarray, " head"]

    def take(self, at: slice | Int[np.ndarray, " chosen"]) -> "Spectra":
        """Return those of some heads."""
        return Spectra(self.first[at], self.second[at], self.third[at])


def spectra(covariance: Float[np.ndarray, "head d d"]) -> Spectra:
    """Return the sums of powers of covariances of one width."""
    square = covariance @ covariance
    return Spectra(
        np.trace(covariance, axis1=1, axis2=2),
        np.trace(square, axis1=1, axis2=2),
        np.einsum("hij,hji->h", square, covariance),
    )


def joined(parts: list[Spectra]) -> Spectra:
    """Return the spectra of several stacks of heads as of one."""
    names = ("first", "second", "third")
    return Spectra(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def cka(
    norms: Float[np.ndarray, "head other"], own: Spectra, others: Spectra
) -> Float[np.ndarray, "head other"]:
    """Return the CKA of each pair from ‖C_ab‖²; NaN where one of them does not vary."""
    scale = np.sqrt(own.second[:, None] * others.second)
    varies = _varies(own, others)
    found = np.full(norms.shape, np.nan)
    np.divide(norms, scale, out=found, where=varies)
    return np.minimum(found, 1.0)


def chance(own: Spectra, others: Spectra, n: int) -> Float[np.ndarray, "head other"]:
    """Return the mean CKA of each pair when the pictures of one of the two are permuted."""
    scale = np.sqrt(own.second[:, None] * others.second) * max(n - 1, 1)
    found = np.full(scale.shape, np.nan)
    mean = own.first[:, None] * others.first
    np.divide(mean, scale, out=found, where=_varies(own, others))
    return found


def p_values(
    norms: Float[np.ndarray, "head other"], own: Spectra, others: Spectra, n: int
) -> Float[np.ndarray, "head other"]:
    """Return P(‖C_ab‖² at least so large) when the pictures of one of the two are permuted.

    A limit for many pictures, its mean exact: right to some percent from about 100 on. 1 where one
    of them does not vary.
    """
    varies = _varies(own, others)
    c1, c2, c3 = (
        np.where(varies, one[:, None] * other, 1.0)
        for one, other in (
            (own.first, others.first),
            (own.second, others.second),
            (own.third, others.third),
        )
    )
    value = np.where(varies, norms * (n - 1), c1)
    return np.where(varies, cumulant_tail(value, c1, c2, c3), 1.0)


def _varies(own: Spectra, others: Spectra) -> Bool[np.ndarray, "head other"]:
    """Return which pairs vary, both of them, by more than rounding."""
    tiny = np.finfo(np.float64).tiny ** 0.25
    found: np.ndarray = (own.first > tiny)[:, None] & (others.first > tiny)
    return found
