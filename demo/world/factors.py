"""The factors of a scene, their values, and which combinations are held out of training."""

from types import MappingProxyType
from typing import Final

SEED: Final = 20240
IMAGE_SIZE: Final = 64
LARGEST_SIZE: Final = 96

KINDS_BY_CATEGORY: Final = MappingProxyType(
    {
        "bird": ("duck", "swan", "flamingo", "pelican", "owl", "rooster", "peacock", "parrot"),
        "mammal": ("cat", "elephant", "rabbit", "giraffe"),
        "sea creature": ("fish", "crab", "octopus", "whale"),
        "vehicle": ("car", "boat", "plane", "rocket"),
        "plant": ("tree", "flower", "cactus", "mushroom"),
        "food": ("apple", "banana", "ice cream"),
        "building": ("house", "castle", "lighthouse"),
        "shape": ("circle", "square", "triangle", "star", "heart"),
    }
)

FACTORS: Final[dict[str, tuple[str, ...]]] = {
    "kind": tuple(kind for kinds in KINDS_BY_CATEGORY.values() for kind in kinds),
    "category": tuple(KINDS_BY_CATEGORY),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white"),
    "count": ("one", "two", "three", "four"),
    "texture": ("plain", "striped", "spotted", "checkered"),
    "background": ("water", "grass", "sand", "night sky", "brick", "snow", "forest", "city"),
    "tone": ("bright", "dim", "sunset", "misty"),
    "bird": ("land bird", "water bird"),
}
"""Factor name -> its values; a value's code is its position. `category` follows from `kind`.
`bird` is -1 outside the birds splits."""

INDEPENDENT: Final = ("kind", "colour", "count", "texture", "background", "tone")
"""The factors that are drawn, each without regard to the others, outside the birds splits."""

LAND_BIRD: Final = 0
WATER_BIRD: Final = 1
WATER_BIRD_KINDS: Final = tuple(
    FACTORS["kind"].index(kind) for kind in ("duck", "swan", "flamingo", "pelican")
)
LAND_BIRD_KINDS: Final = tuple(
    FACTORS["kind"].index(kind) for kind in ("owl", "rooster", "peacock", "parrot")
)
LAND_PLACE: Final = 0
WATER_PLACE: Final = 1
PLACES: Final = MappingProxyType(
    {
        LAND_PLACE: tuple(FACTORS["background"].index(name) for name in ("grass", "forest")),
        WATER_PLACE: (FACTORS["background"].index("water"),),
    }
)
"""Backgrounds that count as land and as water in the birds splits."""

CATEGORY_OF_KIND: Final = tuple(
    code for code, kinds in enumerate(KINDS_BY_CATEGORY.values()) for _ in kinds
)


def _held_out() -> frozenset[tuple[int, int]]:
    """Take 23 of 280 combinations (8.2 %): at most one a kind, two or three a colour."""
    n_colours = len(FACTORS["colour"])
    kinds = [kind for kind in range(len(FACTORS["kind"])) if kind % 3 != 1]
    return frozenset((kind, (3 * i + i // n_colours) % n_colours) for i, kind in enumerate(kinds))


HELD_OUT: Final = _held_out()
"""(kind code, colour code) pairs that occur in split `test_heldout` and nowhere else."""
