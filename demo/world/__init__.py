"""A world of small drawn pictures whose factors are known: kind, colour, count, place and so on.

Everything is made by this code from a seed: the same seed, split and index give the same bytes.
"""

from demo.world.captions import Caption, caption
from demo.world.checksums import verify_checksums
from demo.world.factors import FACTORS, HELD_OUT, IMAGE_SIZE, INDEPENDENT, LARGEST_SIZE, SEED
from demo.world.files import materialise, materialise_birds, materialise_collages
from demo.world.prompts import PROMPTS, descriptions, vocabulary
from demo.world.scenes import Batch, Scene, batch, painters, scene
from demo.world.sheet import contact_sheet
from demo.world.splits import SPLITS, place_of

__all__ = [
    "FACTORS",
    "HELD_OUT",
    "IMAGE_SIZE",
    "INDEPENDENT",
    "LARGEST_SIZE",
    "PROMPTS",
    "SEED",
    "SPLITS",
    "Batch",
    "Caption",
    "Scene",
    "batch",
    "caption",
    "contact_sheet",
    "descriptions",
    "materialise",
    "materialise_birds",
    "materialise_collages",
    "painters",
    "place_of",
    "scene",
    "verify_checksums",
    "vocabulary",
]
