"""A world of small drawn pictures whose factors are known: kind, colour, count, place and so on.

Everything is made by this code from a seed: the same seed, split and index give the same bytes.
"""

from demo.world.captions import Caption, caption
from demo.world.factors import FACTORS, HELD_OUT, IMAGE_SIZE, SEED
from demo.world.prompts import PROMPTS, descriptions, vocabulary
from demo.world.scenes import Batch, Scene, batch, scene
from demo.world.splits import SPLITS, place_of

__all__ = [
    "FACTORS",
    "HELD_OUT",
    "IMAGE_SIZE",
    "PROMPTS",
    "SEED",
    "SPLITS",
    "Batch",
    "Caption",
    "Scene",
    "batch",
    "caption",
    "descriptions",
    "place_of",
    "scene",
    "vocabulary",
]
