"""Vector drawings of every kind of object, by category."""

from typing import Final

from demo.world.factors import FACTORS
from demo.world.silhouettes.animals import ANIMALS
from demo.world.silhouettes.birds import BIRDS
from demo.world.silhouettes.made import BUILDINGS, SHAPES, VEHICLES
from demo.world.silhouettes.plants import FOOD, PLANTS
from demo.world.vector import Silhouette

_ALL = {**BIRDS, **ANIMALS, **VEHICLES, **PLANTS, **FOOD, **BUILDINGS, **SHAPES}

SILHOUETTES: Final[tuple[Silhouette, ...]] = tuple(_ALL[kind] for kind in FACTORS["kind"])
"""One drawing a kind, in the order of the kinds' codes."""
