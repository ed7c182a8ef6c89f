"""Grids of texts: a template with slots, and all combinations of the slots' words."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from schemas.errors import UsageError

# Texts of a grid, at most: each is encoded.
MOST_TEXTS = 100_000


@dataclass(frozen=True)
class Grid:
    """A full grid of texts.

    Attributes:
        template: as `a photo of a {colour} {noun}`.
        slots: words by slot, in the order of the template.
    """

    template: str
    slots: dict[str, tuple[str, ...]]

    @property
    def texts(self) -> list[str]:
        """Every combination of words, the last slot changing fastest."""
        return [
            self.template.format(**dict(zip(self.slots, words, strict=True)))
            for words in product(*self.slots.values())
        ]

    @property
    def shape(self) -> tuple[int, ...]:
        """Words of each slot."""
        return tuple(len(words) for words in self.slots.values())


def parse_grid(template: str, values: Sequence[str]) -> Grid:
    """Read a template and its slots' words, each `slot=word,word`.

    Raises:
        UsageError: a slot has no words or too few, a word stands twice, words are of no slot, or
            there are too many texts.
    """
    try:
        named = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UsageError(f"grid {template!r}: {error}; expected slots in braces") from None
    slots = tuple(dict.fromkeys(named))
    wrong = [name for name in slots if not name.isidentifier()]
    if not slots or wrong:
        raise UsageError(
            f"grid {template!r}: expected one slot or more, as {{colour}}, each a word; got "
            + (", ".join(f"{{{name}}}" for name in wrong) or "none")
        )
    words: dict[str, tuple[str, ...]] = {}
    for given in values:
        name, sign, listed = given.partition("=")
        found = tuple(word.strip() for word in listed.split(",") if word.strip())
        if not sign or name not in slots or name in words:
            raise UsageError(
                f"values {given!r}: expected slot=word,word, once for each of {', '.join(slots)}"
            )
        if len(found) < 2 or len(set(found)) < len(found):
            raise UsageError(f"values {given!r}: expected two words or more, none twice")
        words[name] = found
    missing = [name for name in slots if name not in words]
    if missing:
        raise UsageError(
            f"grid {template!r}: no words for {{{missing[0]}}}; give --values {missing[0]}=..."
        )
    grid = Grid(template, {name: words[name] for name in slots})
    size = 1
    for count in grid.shape:
        size *= count
    if size > MOST_TEXTS:
        raise UsageError(f"grid of {size:,} texts, expected at most {MOST_TEXTS:,}; fewer words")
    return grid
