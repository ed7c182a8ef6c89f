"""Means of components over all pictures of a scan, from its merged moments."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from schemas.errors import UnknownName, UsageError
from schemas.names import head_name
from warehouse.files.layout import ScanDir


@dataclass(frozen=True)
class Means:
    """Mean vectors of one kind of component.

    Attributes:
        n: pictures.
        layers: of each row, ascending.
        heads: of each row; -1 where the component has none.
        vectors: one mean per row.
    """

    n: int
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    vectors: tuple[Float[np.ndarray, " _"], ...]

    def of(self, layer: int, head: int) -> Float[np.ndarray, " d"]:
        """Return the mean of one component.

        Raises:
            UnknownName: the scan does not store it.
        """
        for i, pair in enumerate(zip(self.layers, self.heads, strict=True)):
            if pair == (layer, head):
                found: np.ndarray = self.vectors[i]
                return found
        known = [head_name(*pair) for pair in zip(self.layers, self.heads, strict=True)]
        raise UnknownName.among("head", head_name(layer, head), known)


def means_of(scan: ScanDir, moments: pa.Table, component: str) -> Means:
    """Return the means of all heads (`head`), MLPs (`mlp`), ..., from a scan's merged moments.

    Raises:
        UsageError: there is no picture.
    """
    rows = moments.filter(pc.equal(moments["component"], component))
    rows = rows.sort_by([("layer", "ascending"), ("head", "ascending")])
    n = max(rows["n"].to_pylist(), default=0)
    if not n:
        raise UsageError(f"scan {scan.name} holds no {component} of any picture; scan some first")
    return Means(
        n,
        tuple(rows["layer"].to_pylist()),
        tuple(rows["head"].to_pylist()),
        tuple(mean.values.to_numpy() for mean in rows["mean"]),
    )
