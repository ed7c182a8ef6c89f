"""Class prompts for zero-shot classification, descriptions for TextSpan pools, and all words."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from typing import Final

from demo.world import words
from demo.world.captions import is_singular, with_article
from demo.world.factors import FACTORS, KINDS_BY_CATEGORY

_TEMPLATES: Final = ("{}", "a photo of {}", "a picture of {}", "an image of {}", "there is {}")
_OF: Final = ("{}", "a photo of {}", "a picture of {}")
_ANYTHING_THERE: Final = ("an object", "something", "a photo of an object")
_GLUE: Final = "a an of with there is are we see taken and something"


def _named(nouns: Iterable[str]) -> list[str]:
    return [template.format(with_article(noun)) for noun in nouns for template in _TEMPLATES]


def _colour(value: str) -> list[str]:
    return [
        template.format(phrase)
        for word in words.COLOURS[value]
        for phrase in (
            *(with_article(f"{word} {one}") for one, _ in words.ANYTHING),
            f"something {word}",
        )
        for template in _OF
    ]


def _count(value: str) -> list[str]:
    return [
        template.format(f"{phrase} {one if is_singular(phrase) else many}")
        for phrase in words.COUNTS[value]
        for one, many in words.ANYTHING
        for template in _OF
    ]


def _texture(value: str) -> list[str]:
    phrases = [
        phrase
        for word in words.TEXTURES[value]
        for phrase in (
            *(with_article(f"{word} {one}") for one, _ in words.ANYTHING),
            f"something {word}",
        )
    ]
    phrases += [f"an object {tail}" for tail in words.TEXTURE_TAILS[value]]
    return [template.format(phrase) for phrase in phrases for template in _OF]


def _background(value: str) -> list[str]:
    prompts = [f"{what} {tail}" for tail in words.PLACE_TAILS[value] for what in _ANYTHING_THERE]
    return prompts + [
        template.format(name) for name in words.PLACE_NAMES[value] for template in _OF
    ]


def _tone(value: str) -> list[str]:
    prompts = [
        f"{with_article(medium)} taken {tail}"
        for tail in words.TONE_TAILS[value]
        for medium in words.MEDIA[:3]
    ]
    prompts += [f"an object {tail}" for tail in words.TONE_TAILS[value]]
    return prompts + [
        with_article(f"{word} {medium}")
        for word in words.TONE_ADJECTIVES[value]
        for medium in words.MEDIA
    ]


def _prompts(factor: str, value: str) -> list[str]:
    match factor:
        case "kind":
            return _named(one for one, _ in words.NOUNS[value])
        case "category":
            return _named(one for one, _ in words.CATEGORY_NOUNS[value])
        case "bird":
            return _named(words.BIRD_NOUNS[value])
        case "colour":
            return _colour(value)
        case "count":
            return _count(value)
        case "texture":
            return _texture(value)
        case "background":
            return _background(value)
        case _:
            return _tone(value)


PROMPTS: Final[dict[str, dict[str, list[str]]]] = {
    factor: {value: _prompts(factor, value) for value in values}
    for factor, values in FACTORS.items()
}
"""Factor -> value -> prompts, to be averaged into one class vector a value."""


def descriptions() -> list[tuple[str, str]]:
    """Return (text, property) pairs for a description pool, each text once.

    `property` is a factor's name, but "object" for kinds, "shape" for geometric kinds, and "mixed"
    for texts that state two factors.
    """
    found: dict[str, str] = {}
    for factor, values in PROMPTS.items():
        for value, prompts in values.items():
            for text in prompts:
                found.setdefault(text, _property(factor, value))
    for text in _mixed():
        found.setdefault(text, "mixed")
    return list(found.items())


@cache
def vocabulary() -> tuple[str, ...]:
    """All words that captions, prompts and descriptions can contain, sorted."""
    texts = [text for text, _ in descriptions()]
    texts += [many for nouns in words.NOUNS.values() for _, many in nouns]
    texts += [many for nouns in words.CATEGORY_NOUNS.values() for _, many in nouns]
    return tuple(sorted({word for text in (_GLUE, *texts) for word in text.split()}))


def _property(factor: str, value: str) -> str:
    if factor != "kind":
        return factor
    return "shape" if value in KINDS_BY_CATEGORY["shape"] else "object"


def _mixed() -> Iterator[str]:
    """Two factors each: texture and colour, count and kind, place and light, kind and colour."""
    for texture, colour in product(FACTORS["texture"], FACTORS["colour"]):
        yield with_article(f"{texture} {colour} object")
    for place, tone in product(FACTORS["background"], FACTORS["tone"]):
        yield f"{words.PLACE_NAMES[place][0]} {words.TONE_TAILS[tone][0]}"
    for code, kind in enumerate(FACTORS["kind"]):
        (one, many), count = words.NOUNS[kind][0], FACTORS["count"][code % 4]
        yield f"{count} {one if is_singular(count) else many}"
        yield with_article(f"{FACTORS['colour'][code % 8]} {one}")
        yield f"{with_article(one)} {words.PLACE_TAILS[FACTORS['background'][code % 8]][0]}"
