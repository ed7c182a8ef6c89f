"""Zero-shot classification: class weights from prompts, cosines with pictures, accuracies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

PLAIN_TEMPLATE = ("a photo of a {}.",)


def class_weights(
    encode: Callable[[list[str]], Float[Tensor, "text d_joint"]],
    names: Sequence[str],
    templates: Sequence[str] = PLAIN_TEMPLATE,
) -> Float[np.ndarray, "class d_joint"]:
    """Return unit-norm weights: the mean of each class's unit prompt embeddings, renormalised.

    Args:
        encode: texts to unit-norm embeddings.
        names: class names as they stand in a prompt.
        templates: with one `{}` each.
    """
    prompts = [template.format(name) for name in names for template in templates]
    embedded = encode(prompts).unflatten(0, (len(names), len(templates))).mean(dim=1)
    return torch.nn.functional.normalize(embedded, dim=-1).numpy()


@dataclass(frozen=True)
class Sanity:
    """Zero-shot accuracy over labelled pictures, and what guessing would give.

    Attributes:
        accuracy: share of labelled pictures whose label is the nearest class.
        chance: share that always answering the commonest label would get, or one of the classes
            at random, whichever is larger.
        classes: number of labels.
        images: labelled pictures counted.
    """

    accuracy: float
    chance: float
    classes: int
    images: int

    @property
    def near_chance(self) -> bool:
        """Whether the model does hardly better than guessing.

        Hardly better: by less than three standard errors, or by less than a tenth of the way from
        chance to perfect.
        """
        error = (self.chance * (1 - self.chance) / max(self.images, 1)) ** 0.5
        margin = max(3 * error, 0.1 * (1 - self.chance))
        return self.accuracy < self.chance + margin


def sanity(counts: Int[np.ndarray, " class"], correct: int) -> Sanity:
    """Summarise a run over labelled pictures: pictures per class, and how many were right."""
    total = int(counts.sum())
    chance = max(1 / len(counts), float(counts.max()) / total)
    return Sanity(correct / total, chance, len(counts), total)


def label_prompt(label: str) -> str:
    """Return a label as words: `Water_bird` and `water-bird` both read `water bird`."""
    return " ".join(label.replace("_", " ").replace("-", " ").split()).lower()
