"""Text files that people write: marks and line ends of spreadsheets are never part of a name."""

import codecs
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jobs.steps.templates import templates_of
from pipeline.masks.registry import open_data
from pipeline.texts.pool import read_descriptions
from schemas.config import load_yaml
from schemas.errors import SourceError, UsageError
from schemas.text import decode_text, how_many, read_lines, read_rows


def as_written(text: str) -> dict[str, bytes]:
    """Return the same text as editors and spreadsheets write it."""
    crlf = text.replace("\n", "\r\n")
    return {
        "mark": codecs.BOM_UTF8 + text.encode(),
        "crlf": crlf.encode(),
        "both": codecs.BOM_UTF8 + crlf.encode(),
        "utf16": codecs.BOM_UTF16_LE + crlf.encode("utf-16-le"),
        "big": codecs.BOM_UTF16_BE + crlf.encode("utf-16-be"),
    }


def masked(path: Path) -> object:
    """Return the labels of folder pairs whose metadata.csv is at `path`."""
    for folder in ("images", "masks"):
        (path.parent / folder).mkdir(exist_ok=True)
        for name in ("a.png", "b.png"):
            Image.new("L", (8, 8), 1).save(path.parent / folder / name)
    return open_data(path.parent, "kind").labels


READERS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "classes": ("c.txt", "owl\nheron\n", lambda p: read_lines(p, "classes")),
    "templates": ("t.txt", "a photo of {}\na {}\n", lambda p: templates_of([str(p)])),
    "pool": ("p.csv", 'text,property\nred,colour\n"a, b",\n', read_descriptions),
    "pool of lines": ("p.txt", "red\nblue\n", read_descriptions),
    "pool, tabs": ("p.tsv", "text\tproperty\nred\tcolour\n", read_descriptions),
    "metadata": ("metadata.csv", "img_filename,kind\na.png,owl\nb.png,heron\n", masked),
    "yaml": ("o.yaml", "scan: x\nlayers: all\n", load_yaml),
}


@pytest.mark.parametrize("form", ["mark", "crlf", "both", "utf16", "big"])
@pytest.mark.parametrize("name", READERS)
def test_each_reader_takes_marks_and_line_ends(tmp_path: Path, name: str, form: str) -> None:
    file, text, read = READERS[name]
    path = tmp_path / file
    path.write_bytes(text.encode())
    wanted = read(path)
    path.write_bytes(as_written(text)[form])
    assert read(path) == wanted


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_text_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    file, _, read = READERS[name]
    (tmp_path / file).write_bytes(b"caf\xe9\n")
    with pytest.raises((UsageError, SourceError), match="not UTF-8") as caught:
        read(tmp_path / file)
    assert "\n" not in str(caught.value)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"))))
def test_lines_are_those_that_were_written(lines: list[str]) -> None:
    text = "".join(line + "\n" for line in lines)
    if text.startswith("\ufeff"):
        return
    for data in (text.encode(), *as_written(text).values()):
        assert decode_text(data) == text


def test_a_quote_that_is_not_closed_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('text,property\n"red,colour\nblue,colour\n')
    with pytest.raises(UsageError, match=r"p\.csv line 2: a quote is opened"):
        read_rows(path, "rows")
    path.write_text("text,property\nred\nblue,colour,more\n")
    assert read_rows(path, "rows") == (
        ["text", "property"],
        [{"text": "red", "property": ""}, {"text": "blue", "property": "colour"}],
    )


def test_a_count_agrees_with_its_noun() -> None:
    counted = [how_many(n, "picture") for n in (0, 1, 2, 2300)]
    assert counted == ["0 pictures", "1 picture", "2 pictures", "2,300 pictures"]
    nouns = ("class", "query", "key", "box", "batch")
    assert [how_many(2, noun)[2:] for noun in nouns] == [
        "classes", "queries", "keys", "boxes", "batches",
    ]  # fmt: skip
    assert how_many(1, "query") == "1 query"
