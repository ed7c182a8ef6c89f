"""What attributes of the pictures explain of each head: between-group over total variance.

For groups g of an attribute with n_g pictures, Σ n_g ‖mean_g − mean‖² / Σ ‖v − mean‖² (R² of
PERMANOVA, Anderson 2001). Group sums are all that is needed, so contributions are streamed once.

When values are permuted over n pictures, n times the between-group variance tends to
Σ_k λ_k χ²_{G−1}, λ the eigenvalues of the head's covariance. Its upper tail is computed from the
first three cumulants (Liu, Tang & Zhang 2009); no permutation is run, and p-values have no floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy
from jaxtyping import Float, Int

MISSING = -1


@dataclass(frozen=True)
class GroupSums:
    """Sums over the pictures of each group; those of shards add up.

    Attributes:
        n: pictures per group.
        total: sum of vectors, per head and group.
        squares: sum of squared lengths over the pictures that have a value, per head.
    """

    n: Int[np.ndarray, " group"]
    total: Float[np.ndarray, "head group d_head"]
    squares: Float[np.ndarray, " head"]

    def __add__(self, other: "GroupSums") -> "GroupSums":
        """Return the sums over both sets of pictures."""
        return GroupSums(self.n + other.n, self.total + other.total, self.squares + other.squares)


@dataclass(frozen=True)
class Explained:
    """What one attribute explains of a stack of heads."""

    r2: Float[np.ndarray, " head"]
    p_value: Float[np.ndarray, " head"]


def group_sums(
    vectors: Float[np.ndarray, "head image d_head"],
    codes: Int[np.ndarray, " image"],
    groups: int,
) -> GroupSums:
    """Sum the vectors of each group; pictures with code −1 are left out."""
    there = codes != MISSING
    onehot = np.zeros((groups, len(codes)))
    onehot[codes[there], np.flatnonzero(there)] = 1
    v = vectors.astype(np.float64)
    squares = np.einsum("hid,hid->h", v[:, there], v[:, there])
    return GroupSums(np.bincount(codes[there], minlength=groups), onehot @ v, squares)


def explained(sums: GroupSums, covariance: Float[np.ndarray, "head d_head d_head"]) -> Explained:
    """Return R² and its p-value under permutation of the values.

    Args:
        sums: over all pictures.
        covariance: of the heads' vectors; only the eigenvalues' proportions are used.

    The p-value is a limit for many pictures: right to a few percent from about 100 on.
    """
    n = int(sums.n.sum())
    filled = sums.n > 0
    count = sums.n[filled].astype(np.float64)
    mean = sums.total.sum(axis=1) / max(n, 1)
    between_means = sums.total[:, filled] / count[:, None] - mean[:, None]
    between = np.einsum("g,hgd,hgd->h", count, between_means, between_means)
    total = sums.squares - n * (mean**2).sum(axis=1)
    # stored in half precision: below this, what is left of the squares is rounding
    varies = total > 1e-10 * sums.squares
    r2 = np.where(varies, between / np.where(varies, total, 1), 0.0)
    freedom = int(filled.sum()) - 1
    if freedom < 1 or n <= freedom + 1:
        return Explained(np.zeros(len(r2)), np.ones(len(r2)))
    spectra = np.clip(np.linalg.eigvalsh(covariance), 0, None)
    trace = spectra.sum(axis=1)
    shares = spectra / np.where(trace > 0, trace, 1)[:, None]
    p = np.array(
        [
            mixture_tail((n - 1) * value, share, freedom) if ok else 1.0
            for value, share, ok in zip(r2, shares, varies & (trace > 0), strict=True)
        ]
    )
    return Explained(np.clip(r2, 0, 1), p)


def mixture_tail(value: float, weights: Float[np.ndarray, " d"], freedom: int) -> float:
    """Return P(Σ_k w_k χ²_freedom ≥ value), matching mean, variance and skewness."""
    sums = (np.array(freedom * float((weights**power).sum())) for power in (1, 2, 3))
    return float(cumulant_tail(np.array(value), *sums))


def cumulant_tail(
    value: Float[np.ndarray, "*shape"],
    c1: Float[np.ndarray, "*shape"],
    c2: Float[np.ndarray, "*shape"],
    c3: Float[np.ndarray, "*shape"],
) -> Float[np.ndarray, "*shape"]:
    """Return P(X ≥ value) of a sum X of weighted χ² by c_p = Σ degrees · weightᵖ, p = 1, 2, 3."""
    equivalent = c2**3 / c3**2
    standard = (value - c1) / (2 * c2) ** 0.5
    return np.asarray(
        scipy.stats.chi2.sf(equivalent + standard * (2 * equivalent) ** 0.5, equivalent)
    )


def encode_columns(
    columns: Mapping[str, Sequence[object]], *, most: int = 64, bins: int = 10
) -> dict[str, tuple[list[str], Int[np.ndarray, " image"]]]:
    """Turn columns into groups: name -> (values, code per picture, −1 where there is none).

    Args:
        columns: values of all pictures, by column.
        most: columns of text with more values than this are left out (names, paths, captions).
        bins: numbers with more than `most` values are cut into this many quantiles.

    Columns with fewer than two values are left out.
    """
    found = {}
    for name, values in columns.items():
        known = {v for v in values if v is not None and v != ""}
        if len(known) > most and all(_is_number(v) for v in known):
            found[name] = _quantiles(values, bins)
        elif 2 <= len(known) <= most:
            kinds = sorted(known, key=lambda v: (str(type(v)), v))
            index = {v: i for i, v in enumerate(kinds)}
            codes = [MISSING if v is None or v == "" else index[v] for v in values]
            found[name] = ([str(v) for v in kinds], np.array(codes, np.int64))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _quantiles(values: Sequence[object], bins: int) -> tuple[list[str], Int[np.ndarray, " image"]]:
    numbers = np.array([v if _is_number(v) else np.nan for v in values], np.float64)
    edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, bins + 1)[1:-1]))
    codes = np.searchsorted(edges, numbers, side="right")
    codes[np.isnan(numbers)] = MISSING
    bounds = ["-inf", *(f"{edge:g}" for edge in edges), "inf"]
    names = [f"{low} to {high}" for low, high in pairwise(bounds)]
    return names, codes.astype(np.int64)
