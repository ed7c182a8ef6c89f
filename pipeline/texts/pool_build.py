"""Description pools by a language model: what to ask, how to read it, and how to clean it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from jaxtyping import Float, Int
from pydantic import field_validator

from pipeline.texts.llm import Prompt
from pipeline.texts.pool import Description, normalised
from pipeline.texts.reply import Reply

# Descriptions asked for in one request: more are cut off or repeat themselves.
BATCH: Final = 40
# Words a description has, for estimates, its property included.
WORDS: Final = 9
# Rounds of further requests for a property that is still short.
ROUNDS: Final = 4

# A property as a line may name it: prose with a bar in it is none.
_PROPERTY: Final = re.compile(r"[\w' /&-]{1,40}")

_SYSTEM: Final = (
    "You write short descriptions of what a picture can show, for a study of an image encoder. "
    "Each description is a phrase of two to eight words in English, as a caption would say it, "
    "about one characteristic alone, and about what can be seen. Never repeat yourself."
)


class Item(Reply):
    """One description and what it is about."""

    text: str
    property: str


class Descriptions(Reply):
    """The answer to every question of this module."""

    as_lines: ClassVar[str] = (
        "Answer with one description per line, as `property | description`, and nothing else."
    )

    items: list[Item]

    @field_validator("items", mode="before")
    @classmethod
    def _usable(cls, items: Any) -> Any:
        """Keep the items that have a text; plain strings are texts without a property."""
        if not isinstance(items, list):
            return items
        found = []
        for item in items:
            item = {"text": item} if isinstance(item, str) else item
            if isinstance(item, dict) and isinstance(item.get("text"), str):
                name = item.get("property")
                found.append(
                    {
                        "text": item["text"],
                        "property": name if name and isinstance(name, str) else "",
                    }
                )
            elif isinstance(item, Item):
                found.append({"text": item.text, "property": item.property})
        if items and not found:
            raise ValueError("no item has a text")
        return found

    @classmethod
    def from_lines(cls, text: str) -> dict[str, Any]:
        """Read `property | description`, one per line, with or without bullets."""
        items = []
        for line in text.splitlines():
            name, bar, said = line.strip().lstrip("-*•0123456789.) ").partition("|")
            if bar and said.strip() and _PROPERTY.fullmatch(name.strip()):
                items.append({"text": said.strip(), "property": name.strip()})
        if not items:
            raise ValueError("no line `property | description`")
        return {"items": items}


@dataclass(frozen=True)
class Kept:
    """A pool after cleaning, and how many were left out and why."""

    descriptions: tuple[Description, ...]
    empty: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    too_long: int = 0


def property_prompt(name: str, count: int, part: int) -> Prompt[Descriptions]:
    """Ask for `count` descriptions about one property; `part` numbers the requests from 0."""
    plain = name.replace("_", " ")
    return Prompt(
        _SYSTEM,
        f"Write {count} descriptions of pictures, all about this property: {plain}. Cover as many "
        f"different cases of it as you can, common and uncommon. This is list {part + 1}: make it "
        f"unlike the lists before it. Give each item the property {name!r}.",
        Descriptions,
        part,
    )


def class_prompt(name: str, properties: Sequence[str], count: int) -> Prompt[Descriptions]:
    """Ask what a picture of one class may show, each item with its property."""
    return Prompt(
        _SYSTEM,
        f"Write {count} descriptions of what a picture of this class may show: {name}. Look at its "
        "parts, colours, surroundings, number, pose, light and style. Give each item the property "
        f"it is about, one of: {', '.join(properties)}; or another word if none fits.",
        Descriptions,
    )


def grounded_prompt(
    values: Sequence[str], properties: Sequence[str], count: int
) -> Prompt[Descriptions]:
    """Ask for descriptions of pictures like those that carry these labels or captions."""
    listed = "\n".join(f"- {value}" for value in values)
    return Prompt(
        _SYSTEM,
        f"These are labels or captions of pictures in one collection:\n{listed}\n\nWrite {count} "
        "descriptions of what pictures of this collection show, beyond the words given. Give each "
        f"item the property it is about, one of: {', '.join(properties)}; or another word if none "
        "fits.",
        Descriptions,
    )


def parts_needed(missing: int, batch: int = BATCH) -> list[int]:
    """Return the sizes of the requests for `missing` descriptions."""
    sizes = [batch] * (missing // batch)
    return [*sizes, *([missing % batch] if missing % batch else [])]


class Gathered:
    """Descriptions in the order of their questions, repeats counted and left out."""

    def __init__(self) -> None:
        """Start empty."""
        self.descriptions: list[Description] = []
        self.empty = 0
        self.duplicates = 0
        self._seen: set[str] = set()

    def add(self, reply: Descriptions | None, about: str | None = None) -> int:
        """Add a reply's descriptions, under one property or their own; return how many are new."""
        before = len(self.descriptions)
        for item in reply.items if reply is not None else ():
            text = " ".join(item.text.split())
            key = normalised(text)
            if not key:
                self.empty += 1
            elif key in self._seen:
                self.duplicates += 1
            else:
                self._seen.add(key)
                name = about or " ".join(item.property.split()).lower().replace(" ", "_")
                self.descriptions.append(Description(text, name or None))
        return len(self.descriptions) - before

    def count(self, about: str) -> int:
        """Return how many descriptions a property has."""
        return sum(d.property == about for d in self.descriptions)


def near_duplicates(
    embeddings: Float[np.ndarray, "text d_joint"], threshold: float, *, block: int = 512
) -> Int[np.ndarray, " duplicate"]:
    """Return the texts whose cosine with an earlier kept text reaches `threshold`, ascending."""
    kept = np.zeros((0, embeddings.shape[1]), np.float32)
    dropped: list[int] = []
    for start in range(0, len(embeddings), block):
        part = embeddings[start : start + block].astype(np.float32)
        earlier = (part @ kept.T).max(axis=1, initial=-1) >= threshold
        within = part @ part.T >= threshold
        alive: list[int] = []
        for i in range(len(part)):
            if earlier[i] or within[i, alive].any():
                dropped.append(start + i)
            else:
                alive.append(i)
        kept = np.concatenate([kept, part[alive]])
    return np.array(dropped, np.int64)


def random_directions(count: int, d_joint: int, seed: int = 0) -> Float[np.ndarray, "text d_joint"]:
    """Return random unit vectors, the paper's baseline for pools."""
    drawn = np.random.default_rng(seed).standard_normal((count, d_joint))
    found: np.ndarray = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return found
