"""What a training run is: every number that its result depends on."""

import hashlib
from dataclasses import dataclass, field

from demo.world import IMAGE_SIZE, LARGEST_SIZE
from demo.world.checksums import CHECKSUMS


def world_digest() -> str:
    """Eight hex digits that name the drawn world, from the checksums kept with its code."""
    return hashlib.sha256(CHECKSUMS.read_bytes()).hexdigest()[:8]


@dataclass(frozen=True)
class Plan:
    """The run on two cores. With the same plan, device, threads and kind of CPU it gives the same.

    `image_size` is the pictures' height and width in pixels. `pictures` and `birds` are the numbers
    of different ones drawn from splits `train` and `birds_train`; a batch holds `batch` pictures,
    `birds_per_batch` of them from the latter. `drop` is the probability, per picture, that the
    MLPs' direct path is dropped (`model.image_features`). `matrix_peak` and `peak` are the highest
    learning rates of Muon and AdamW (`demo.optim`).
    `world` is the digest of the pictures' checksums: other pictures are another run.
    """

    image_size: int = IMAGE_SIZE
    pictures: int = 100_000
    birds: int = 10_000
    batch: int = 128
    birds_per_batch: int = 16
    captions_per_picture: int = 2
    steps: int = 4_500
    warmup: int = 200
    matrix_peak: float = 3e-3
    peak: float = 1.5e-3
    weight_decay: float = 0.05
    drop: float = 0.5
    seed: int = 0
    world: str = field(default_factory=world_digest)


ON_GPU = Plan(
    image_size=LARGEST_SIZE,
    pictures=200_000,
    birds=20_000,
    batch=256,
    birds_per_batch=32,
    steps=20_000,
)
"""The run on a GPU: larger pictures, twice as many, nine times the samples."""
