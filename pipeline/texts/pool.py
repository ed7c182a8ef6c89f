"""Description pools: reading lists of texts, and cleaning them."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import UsageError
from schemas.text import read_lines, read_rows

GENERAL = Path(__file__).parent / "pools" / "general.csv"


@dataclass(frozen=True)
class Description:
    """One text that may describe what a head writes.

    Attributes:
        text: the description.
        property: what it is about (colour, place ...); None where unknown.
    """

    text: str
    property: str | None = None


@dataclass(frozen=True)
class Cleaned:
    """Unique descriptions, and how many lines were left out and why."""

    descriptions: tuple[Description, ...]
    empty: int
    duplicates: int


def read_descriptions(path: Path) -> list[Description]:
    """Read a text file, one description per line, or a CSV or TSV with `text` and `property`.

    Raises:
        UsageError: the file is absent, not UTF-8, or a CSV without a `text` column.
    """
    if path.suffix.lower() not in (".csv", ".tsv"):
        expected = "a text file with one description per line"
        return [Description(line) for line in read_lines(path, expected)]
    expected = "columns `text` and `property`"
    names, rows = read_rows(path, expected, "\t" if path.suffix.lower() == ".tsv" else ",")
    if "text" not in names:
        raise UsageError(f"{path} has columns {', '.join(names)}; expected {expected}")
    return [Description(row["text"], row.get("property") or None) for row in rows]


def clean(descriptions: Iterable[Description]) -> Cleaned:
    """Strip, and drop empty lines and repeats (compared without case, accents' form and dots)."""
    kept: list[Description] = []
    seen: set[str] = set()
    empty = duplicates = 0
    for description in descriptions:
        text = " ".join(description.text.split())
        key = normalised(text)
        if not key:
            empty += 1
        elif key in seen:
            duplicates += 1
        else:
            seen.add(key)
            kept.append(Description(text, description.property))
    return Cleaned(tuple(kept), empty, duplicates)


def normalised(text: str) -> str:
    """Return the form in which two texts count as the same."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" .!?,;:\"'")
