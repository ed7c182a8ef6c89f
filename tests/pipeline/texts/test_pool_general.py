"""The description pool that ships: what may be in it, and what may not."""

import csv
import io
import re
from collections import Counter
from pathlib import Path

import open_clip
import pytest

POOL = Path(__file__).resolve().parents[3] / "pipeline" / "texts" / "pools" / "general.csv"
CONTEXT_LENGTH = 77
ARTICLES = {"a", "an", "the"}


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str]]:
    with POOL.open(encoding="utf-8", newline="") as file:
        header, *body = csv.reader(file)
    assert header == ["text", "property"]
    return [(text, prop) for text, prop in body]


def normalised(text: str) -> str:
    """Lower case, without punctuation and articles: equal for texts that say the same."""
    words = re.findall(r"[^\W_]+", text.lower().replace("'", ""))
    return " ".join(word for word in words if word not in ARTICLES)


def test_file_is_sorted_and_written_canonically(rows: list[tuple[str, str]]) -> None:
    assert rows == sorted(rows, key=lambda row: (row[1], row[0]))
    canonical = io.StringIO()
    writer = csv.writer(canonical, lineterminator="\n")
    writer.writerows([("text", "property"), *rows])
    assert POOL.read_bytes() == canonical.getvalue().encode("utf-8")


def test_descriptions_are_unique_after_normalisation(rows: list[tuple[str, str]]) -> None:
    counts = Counter(normalised(text) for text, _ in rows)
    assert [text for text, count in counts.items() if count > 1] == []
    assert "" not in counts


def test_sizes(rows: list[tuple[str, str]]) -> None:
    per_property = Counter(prop for _, prop in rows)
    assert len(rows) >= 3500
    assert len(per_property) >= 20
    assert {prop: n for prop, n in per_property.items() if n < 40} == {}


def test_properties_are_snake_case(rows: list[tuple[str, str]]) -> None:
    bad = {prop for _, prop in rows if not re.fullmatch(r"[a-z]+(_[a-z]+)*", prop)}
    assert bad == set()


def test_the_properties_asked_for_are_there(rows: list[tuple[str, str]]) -> None:
    asked = {
        "colour", "texture", "pattern", "shape", "count", "animal", "food", "vehicle", "weather",
        "lighting", "photographic_style", "emotion", "text_in_picture", "material",
    }  # fmt: skip
    assert asked - {prop for _, prop in rows} == set()


def test_texts_fit_the_context_whole(rows: list[tuple[str, str]]) -> None:
    """A truncated text ends in the end token at the last place; none may."""
    tokens = open_clip.get_tokenizer("ViT-B-32")([text for text, _ in rows])
    assert tokens.shape == (len(rows), CONTEXT_LENGTH)
    assert not bool(tokens[:, -1].any())


def test_no_template_dominates(rows: list[tuple[str, str]]) -> None:
    openings = Counter(" ".join(text.lower().split()[:3]) for text, _ in rows)
    opening, count = openings.most_common(1)[0]
    assert count <= 0.15 * len(rows), opening


def test_most_texts_are_caption_length(rows: list[tuple[str, str]]) -> None:
    lengths = [len(text.split()) for text, _ in rows]
    assert max(lengths) <= 15
    assert sum(3 <= length <= 12 for length in lengths) >= 0.9 * len(rows)


def test_characters_are_sane(rows: list[tuple[str, str]]) -> None:
    """Latin letters, digits, blanks and a few marks; no stray blanks, no full stop at the end."""
    allowed = re.compile(r"[A-Z0-9][A-Za-zÀ-ÖØ-öø-ÿ0-9 ,'\"-]*[A-Za-zÀ-ÖØ-öø-ÿ0-9\"]")
    bad = [text for text, _ in rows if not allowed.fullmatch(text) or "  " in text]
    assert bad == []


def test_spelling_is_british(rows: list[tuple[str, str]]) -> None:
    american = re.compile(
        r"\b(colors?|colored|colorful|gray|centers?|centered|fiber|theater|jewelry)\b", re.I
    )
    assert [text for text, _ in rows if american.search(text)] == []
