"""Effects over many pictures: sums that merge exactly, and the numbers that are made of them."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float

# What is added up of each head and target. `both`: pictures on which total and atp are known.
NAMES: Final = (
    *("n", "direct", "abs_direct"),
    *("n_total", "total", "abs_total", "total_squared", "direct_squared", "direct_times_total"),
    *("n_atp", "atp", "abs_atp"),
    *("n_both", "class_only", "both_total", "both_atp"),
    *("both_total_squared", "both_atp_squared", "both_product"),
)


@dataclass(frozen=True)
class Measured:
    """Effects of some pictures; what was not measured of them is None.

    `class_only` is known where both `total` and `atp` are.
    """

    direct: Float[np.ndarray, "image head target"]
    total: Float[np.ndarray, "image head target"] | None = None
    class_only: Float[np.ndarray, "image head target"] | None = None
    atp: Float[np.ndarray, "image head target"] | None = None


@dataclass
class EffectSums:
    """Sums over pictures by `NAMES`, each [head, target] in float64."""

    sums: dict[str, Float[np.ndarray, "head target"]] = field(default_factory=dict)

    def add(self, found: Measured) -> None:
        """Add pictures."""
        d, t, a = found.direct, found.total, found.atp
        more = {"n": np.ones_like(d), "direct": d, "abs_direct": np.abs(d)}
        if t is not None:
            more |= {"n_total": np.ones_like(t), "total": t, "abs_total": np.abs(t)}
            more |= {"total_squared": t * t, "direct_squared": d * d, "direct_times_total": d * t}
        if a is not None:
            more |= {"n_atp": np.ones_like(a), "atp": a, "abs_atp": np.abs(a)}
        if t is not None and a is not None and found.class_only is not None:
            more |= {"n_both": np.ones_like(a), "class_only": found.class_only}
            more |= {"both_total": t, "both_atp": a, "both_product": t * a}
            more |= {"both_total_squared": t * t, "both_atp_squared": a * a}
        self.merge(EffectSums({k: v.astype(np.float64).sum(axis=0) for k, v in more.items()}))

    def merge(self, other: "EffectSums") -> None:
        """Add the sums of other pictures."""
        for name, sums in other.sums.items():
            self.sums[name] = self.sums[name] + sums if name in self.sums else sums

    def of(self, name: str) -> Float[np.ndarray, "head target"]:
        """Return one of the sums, zeros where nothing was measured."""
        return self.sums[name] if name in self.sums else np.zeros_like(self.sums["n"])

    def means(self) -> dict[str, Float[np.ndarray, "head target"]]:
        """Return what a table says of each head and target; NaN where it is not known.

        `repair` is 1 less the slope of total on direct through the origin: what of a head's direct
        effect later layers undo. `atp_r` is the correlation of atp with total over pictures.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            by = {"direct": "n", "abs_direct": "n", "total": "n_total", "abs_total": "n_total"}
            by |= {"atp": "n_atp", "abs_atp": "n_atp", "class_only": "n_both"}
            found = {name: self.of(name) / self.of(count) for name, count in by.items()}
            n = self.of("n_total")
            variance = (self.of("total_squared") - n * found["total"] ** 2) / (n - 1)
            found["se_total"] = np.sqrt(np.maximum(variance, 0) / n)
            slope = self.of("direct_times_total") / self.of("direct_squared")
            found["repair"] = np.where(np.isfinite(slope), 1 - slope, np.nan)
        found["atp_r"] = self.correlation(self.sums)
        return found

    def correlation_of(self, rows: list[int]) -> float:
        """Return the correlation of atp with total over pictures, targets and some heads."""
        whole = {k: v[rows].sum(keepdims=True) for k, v in self.sums.items()}
        return float(self.correlation(whole)[0, 0])

    @staticmethod
    def correlation(
        sums: dict[str, Float[np.ndarray, "head target"]],
    ) -> Float[np.ndarray, "head target"]:
        """Return the correlation of atp with total; NaN where one of them does not vary."""
        if "n_both" not in sums:
            return np.full_like(sums["n"], np.nan)
        n, t, a = sums["n_both"], sums["both_total"], sums["both_atp"]
        with np.errstate(divide="ignore", invalid="ignore"):
            of_total = sums["both_total_squared"] - t * t / n
            of_atp = sums["both_atp_squared"] - a * a / n
            found: np.ndarray = (sums["both_product"] - t * a / n) / np.sqrt(of_total * of_atp)
        return np.where(np.isfinite(found), np.clip(found, -1, 1), np.nan)
