"""Zero-shot classification: class weights from prompts, cosines with pictures, accuracies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from schemas.errors import UsageError
from schemas.text import how_many

PLAIN_TEMPLATE = ("a photo of a {}.",)


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


def openai_templates() -> tuple[str, ...]:
    """Return the 80 ImageNet templates of the CLIP paper, with one `{}` each."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES  # it imports torch

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


@dataclass(frozen=True)
class ClassNames:
    """The classes of a zero-shot classifier: labels as pictures carry them, names for prompts."""

    labels: tuple[str, ...]
    names: tuple[str, ...]


def parse_classes(lines: Sequence[str], where: str) -> ClassNames:
    """Read one class per line, `name` or `label<TAB>name`; blank lines are passed over.

    Raises:
        UsageError: fewer than two classes, or a label twice.
    """
    rows = [line.strip("\r\n") for line in lines if line.strip()]
    pairs = [row.split("\t", 1) if "\t" in row else [row, row] for row in rows]
    labels = tuple(label.strip() for label, _ in pairs)
    names = tuple(name.strip() for _, name in pairs)
    if len(labels) < 2:
        raise UsageError(
            f"{where}: {how_many(len(labels), 'class')}; expected two or more, one per line"
        )
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise UsageError(f"{where}: label {twice[0]!r} occurs twice; expected each class once")
    return ClassNames(labels, names)


def parse_templates(lines: Sequence[str], where: str) -> tuple[str, ...]:
    """Read one template per line, each with one `{}` where the class goes.

    Raises:
        UsageError: there is none, or one has no `{}` or several.
    """
    found = tuple(line.strip() for line in lines if line.strip())
    wrong = [line for line in found if line.count("{}") != 1]
    if wrong or not found:
        got = f"{wrong[0]!r}" if wrong else "no line"
        raise UsageError(f"{where}: got {got}; expected templates with one {{}} each, one per line")
    return found
