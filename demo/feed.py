"""What training reads: pictures drawn once and kept on disk, and a fresh batch for every step."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from demo import world
from demo.words import Words

NAMES = tuple(world.FACTORS)
BIRD = NAMES.index("bird")
CATEGORY = NAMES.index("category")
BIRD_CATEGORY = world.FACTORS["category"].index("bird")
CHUNK = 5_000


@dataclass(frozen=True)
class Pictures:
    """Pictures of one split with their factors' codes, in the order of `NAMES`."""

    split: str
    images: UInt8[np.ndarray, "image side side 3"]
    factors: Int[np.ndarray, "image factor"]

    def by_name(self) -> dict[str, Int[np.ndarray, " image"]]:
        """The factors' codes by name."""
        return {name: self.factors[:, i] for i, name in enumerate(NAMES)}


@dataclass(frozen=True)
class Batch:
    """One step's pictures and captions. `written_for[j]` is the picture of caption j."""

    images: UInt8[Tensor, "image side side 3"]
    factors: Int[Tensor, "image factor"]
    tokens: Int[Tensor, "caption context"]
    written_for: Int[Tensor, " caption"]
    mentions: Bool[Tensor, "caption factor"]
    drop: Bool[Tensor, " image"]


def draw(
    split: str,
    count: int,
    *,
    side: int,
    folder: Path,
    processes: int,
    report: Callable[[int], None] = lambda done: None,
) -> Pictures:
    """The first `count` pictures of a split, drawn in chunks kept in `folder`, or read from there.

    `side` is their height and width; a folder holds pictures of one size.
    A chunk is renamed into place when complete, so an interrupted run goes on after the last one.
    `report` is called with the number of pictures at hand after each chunk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = np.empty((count, side, side, 3), dtype=np.uint8)
    factors = np.empty((count, len(NAMES)), dtype=np.int64)
    with world.painters(processes) as by:
        for start in range(0, count, CHUNK):
            stop = min(count, start + CHUNK)
            path = folder / f"{split}-{start:07d}-{stop:07d}.npz"
            if not path.exists():
                drawn = world.batch(split, start, stop, by=by, side=side)
                codes = np.stack([drawn.factors[name] for name in NAMES], 1)
                partial = path.with_suffix(".partial")
                with partial.open("wb") as file:
                    np.savez(file, images=drawn.images, factors=codes)
                partial.replace(path)
            with np.load(path) as chunk:
                images[start:stop] = chunk["images"]
                factors[start:stop] = chunk["factors"]
            report(stop)
    return Pictures(split, images, factors)


@dataclass(frozen=True)
class Feed:
    """Batches drawn at random from several splits, each step's from the seed and the step alone.

    `shares` says how many pictures of a batch come from which split.
    """

    shares: tuple[tuple[Pictures, int], ...]
    words: Words
    seed: int
    captions_per_picture: int
    drop: float

    def batch(self, step: int) -> Batch:
        """The batch of `step`; half of the pictures are mirrored.

        Each picture gets `captions_per_picture` new captions. The MLPs' direct path is dropped
        with probability `drop`.
        """
        rng = np.random.default_rng((self.seed, step))
        images, factors, captions, mentions = [], [], [], []
        for pictures, share in self.shares:
            for index in rng.choice(len(pictures.images), size=share, replace=False):
                image, codes = pictures.images[index], pictures.factors[index]
                images.append(image[:, ::-1] if rng.random() < 0.5 else image)
                factors.append(codes)
                named = dict(zip(NAMES, codes.tolist(), strict=True))
                for _ in range(self.captions_per_picture):
                    caption = world.caption(named, rng, split=pictures.split)
                    captions.append(caption.text)
                    mentions.append([name in caption.mentions for name in NAMES])
        count = len(images)
        return Batch(
            images=torch.from_numpy(np.stack(images)),
            factors=torch.from_numpy(np.stack(factors)),
            tokens=self.words.encode(captions),
            written_for=torch.arange(count).repeat_interleave(self.captions_per_picture),
            mentions=torch.tensor(mentions),
            drop=torch.from_numpy(rng.random(count) < self.drop),
        )


def counted(batch: Batch) -> Bool[Tensor, "image caption"]:
    """Pairs whose truth is known.

    Only the birds splits say which birds are water birds, so a caption that says "water bird" or
    "land bird" is neither true nor false of a bird from elsewhere.
    """
    untold = (batch.factors[:, BIRD] < 0) & (batch.factors[:, CATEGORY] == BIRD_CATEGORY)
    return ~(untold[:, None] & batch.mentions[None, :, BIRD])
