"""What a scan adds up beside heads' contributions, in the same pass: by what --store names."""

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from pipeline.heads.decompose import Decomposition
from pipeline.heads.edge_sums import EdgeSums, EdgeWatch
from pipeline.heads.edges import Edges
from pipeline.heads.position_means import MeansWatch, PositionSums
from pipeline.towers.forward import Step
from pipeline.towers.tower import Tower
from schemas.errors import UnsupportedModel

Sums = EdgeSums | PositionSums


@runtime_checkable
class Watch(Protocol):
    """Sees every block of a batch, and gives the sums over it."""

    def __call__(self, step: Step) -> None:
        """Take in a block."""

    def take(self, found: Decomposition) -> Sums:
        """Return the sums over what was decomposed since, and begin anew."""


def watches(tower: Tower, stored: Collection[str], layers: Sequence[int]) -> dict[str, Watch]:
    """Return what adds up each kind of sum that a scan stores.

    Args:
        tower: the image encoder.
        stored: components that are stored; those that are no sums are passed over.
        layers: whose heads are.

    Raises:
        UnsupportedModel: the tower has no such sums.
    """
    found: dict[str, Watch] = {}
    if "edges" in stored:
        found["edges"] = EdgeWatch(Edges(tower))
    if "means" in stored:
        if tower.readout.pool is not None:
            raise UnsupportedModel(
                f"{tower.family} pools by attention: a scan stores the pool's heads, whose outputs "
                "are no tokens'; leave out --store means: headatlas effects makes its own pass"
            )
        found["means"] = MeansWatch(layers)
    return found
