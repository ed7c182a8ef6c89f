"""Captions that name a random subset of a scene's factors, and record which.

Where the count is not named, the noun stands in the singular: "a red duck" is true of a picture of
three red ducks, as "there is a red duck" is. So a caption is true of every picture that shares the
values of the factors it names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from demo.world.factors import FACTORS
from demo.world.splits import split_named
from demo.world.words import (
    ANYTHING,
    BIRD_NOUNS,
    CATEGORY_NOUNS,
    COLOURS,
    COUNTS,
    MEDIA,
    NOUNS,
    PLACE_NAMES,
    PLACE_TAILS,
    TEXTURE_TAILS,
    TEXTURES,
    TONE_ADJECTIVES,
    TONE_TAILS,
)

_CHANCES: Final = {"colour": 0.45, "count": 0.45, "texture": 0.42, "background": 0.4, "tone": 0.38}
_KIND_CHANCE: Final = 0.6
_CATEGORY_CHANCE: Final = 0.2
_SURROUNDINGS_ONLY_CHANCE: Final = 0.07
_VOWELS: Final = frozenset("aeiou")

T = TypeVar("T")


@dataclass(frozen=True)
class Caption:
    """A sentence, and the names of the factors whose values it states."""

    text: str
    mentions: frozenset[str]


def caption(factors: Mapping[str, int], rng: np.random.Generator, *, split: str) -> Caption:
    """Phrase a caption for a scene with these factors.

    In the birds splits the bird is named by its group ("a water bird") and never by its kind;
    elsewhere never by its group. Raises UnknownName for a split that does not exist.
    """
    value = {name: FACTORS[name][factors[name]] for name in FACTORS if factors[name] >= 0}
    is_birds = split_named(split).alignment is not None
    mentions = {name for name, share in _CHANCES.items() if rng.random() < share}
    if rng.random() < _SURROUNDINGS_ONLY_CHANCE:
        mentions = mentions & {"background", "tone"} or {"background"}
        return Caption(_surroundings(value, mentions, rng), frozenset(mentions))
    if is_birds:
        # One small bird in every picture: to count it would teach nothing.
        mentions = mentions - {"count"} | {"bird"}
    elif (draw := rng.random()) < _KIND_CHANCE or not mentions:
        mentions.add("kind")
    elif draw < _KIND_CHANCE + _CATEGORY_CHANCE:
        mentions.add("category")
    return Caption(_sentence(value, mentions, rng), frozenset(mentions))


def with_article(phrase: str) -> str:
    """Put "a" or "an" in front."""
    return ("an " if phrase[0] in _VOWELS else "a ") + phrase


def is_singular(count_phrase: str) -> bool:
    """Whether a noun after this count phrase stands in the singular."""
    return count_phrase in COUNTS["one"]


def _one(options: Sequence[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(0, len(options)))]


def _surroundings(value: Mapping[str, str], mentions: set[str], rng: np.random.Generator) -> str:
    """Only the place, only the light, or both: "a dark photo of a forest"."""
    medium = _one(MEDIA, rng)
    place = _one(PLACE_NAMES[value["background"]], rng)
    if "tone" not in mentions:
        return _one((place, f"{with_article(medium)} of {place}"), rng)
    if rng.random() < 0.5:
        picture = with_article(f"{_one(TONE_ADJECTIVES[value['tone']], rng)} {medium}")
        return f"{picture} of {place}" if "background" in mentions else picture
    light = _one(TONE_TAILS[value["tone"]], rng)
    what = place if "background" in mentions else f"{with_article(medium)} taken"
    return f"{what} {light}"


def _sentence(value: Mapping[str, str], mentions: set[str], rng: np.random.Generator) -> str:
    phrase, singular = _noun_phrase(value, mentions, rng)
    tails = []
    if "background" in mentions:
        tails.append(_one(PLACE_TAILS[value["background"]], rng))
    tone_in_front = "tone" in mentions and rng.random() < 0.4
    if "tone" in mentions and not tone_in_front:
        tails.insert(int(rng.integers(0, len(tails) + 1)), _one(TONE_TAILS[value["tone"]], rng))
    verb = "is" if singular else "are"
    if tone_in_front:
        medium = f"{_one(TONE_ADJECTIVES[value['tone']], rng)} {_one(MEDIA, rng)}"
        opening = f"{with_article(medium)} {_one(('of', 'with'), rng)}"
    elif tails and rng.random() < 0.2:
        front = tails.pop(int(rng.integers(0, len(tails))))
        opening = f"{front} there {verb}"
    else:
        of_medium = f"{with_article(_one(MEDIA, rng))} of"
        opening = _one(("", "", of_medium, of_medium, f"there {verb}", "we see"), rng)
        if not opening and rng.random() < 0.4:
            # As a label: "striped owl in the snow".
            phrase = phrase.removeprefix("a ").removeprefix("an ")
    return " ".join(part for part in (opening, phrase, *tails) if part)


def _noun_phrase(
    value: Mapping[str, str], mentions: set[str], rng: np.random.Generator
) -> tuple[str, bool]:
    """Count or article, adjectives, noun, and what follows the noun; and whether it is singular."""
    adjectives, tails = _properties(value, mentions, rng)
    one, many = _noun(value, mentions, rng)
    if "count" in mentions:
        count = _one(COUNTS[value["count"]], rng)
        singular = is_singular(count)
        phrase = " ".join((count, *adjectives, one if singular else many))
    else:
        singular = True
        words = " ".join((*adjectives, one))
        is_nameless = not mentions & {"kind", "category", "bird"}
        if is_nameless and rng.random() < 0.5:
            phrase = " and ".join(adjectives)
            phrase = f"something {phrase}".strip()
        else:
            phrase = with_article(words)
    return " ".join((phrase, *tails)), singular


def _properties(
    value: Mapping[str, str], mentions: set[str], rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """Say colour and texture before the noun, in either order, or the texture after it."""
    adjectives: list[str] = []
    tails: list[str] = []
    if "colour" in mentions:
        adjectives.append(_one(COLOURS[value["colour"]], rng))
    if "texture" in mentions:
        if rng.random() < 0.35:
            tails.append(_one(TEXTURE_TAILS[value["texture"]], rng))
        else:
            word = _one(TEXTURES[value["texture"]], rng)
            adjectives.insert(int(rng.integers(0, len(adjectives) + 1)), word)
    return adjectives, tails


def _noun(
    value: Mapping[str, str], mentions: set[str], rng: np.random.Generator
) -> tuple[str, str]:
    """Singular and plural; the usual name of a kind half of the time."""
    if "bird" in mentions:
        name = _one(BIRD_NOUNS[value["bird"]], rng)
        return name, name
    if "kind" in mentions:
        names = NOUNS[value["kind"]]
        return names[0] if rng.random() < 0.5 else _one(names, rng)
    if "category" in mentions:
        return _one(CATEGORY_NOUNS[value["category"]], rng)
    return _one(ANYTHING, rng)
