"""Grids of texts, and which tokens are which word."""

import re

import pytest
from open_clip.tokenizer import SimpleTokenizer

from pipeline.texts.grids import parse_grid
from pipeline.texts.words import words_of
from schemas.errors import UsageError


def test_a_grid_has_every_combination_the_last_slot_fastest() -> None:
    grid = parse_grid("a {colour} {noun}", ["noun=cat,dog,ice cream", "colour=red, blue"])
    assert grid.shape == (2, 3) and list(grid.slots) == ["colour", "noun"]
    assert grid.texts == [
        *("a red cat", "a red dog", "a red ice cream"),
        *("a blue cat", "a blue dog", "a blue ice cream"),
    ]


@pytest.mark.parametrize(
    ("template", "values", "words"),
    [
        ("a cat", (), "expected one slot or more"),
        ("a {} cat", (), "got {}"),
        ("a {colour cat", (), "expected slots in braces"),
        ("a {colour} cat", (), "no words for {colour}; give --values colour="),
        ("a {colour} cat", ("colour=red",), "expected two words or more"),
        ("a {colour} cat", ("colour=red,red",), "none twice"),
        ("a {colour} cat", ("hue=red,blue",), "once for each of colour"),
        ("a {colour} cat", ("colour=red,blue", "colour=red,blue"), "once for each"),
        ("a {colour} cat", ("red,blue",), "expected slot=word,word"),
        ("{a}{b}", tuple(f"{s}={','.join(map(str, range(400)))}" for s in "ab"), "160,000 texts"),
    ],
)
def test_a_wrong_grid_is_said_in_one_line(
    template: str, values: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        parse_grid(template, values)
    assert "\n" not in str(caught.value)


def test_tokens_of_one_word_are_together_and_each_token_is_in_one() -> None:
    tokenizer = SimpleTokenizer(context_length=16)
    text = "an axolotlish car, in 1987"
    ids = tokenizer([text])[0].tolist()
    found = words_of(tokenizer, ids, 17)
    names = [word.text for word in found]
    assert names == [
        *("<start>", "an", "axolotlish", "car", ",", "in"),
        *names[6:-3],
        *("<end>", "<pad>", "<cls>"),
    ]
    assert "".join(names[6:-3]) == "1987"
    assert len(next(word for word in found if word.text == "axolotlish").tokens) > 1
    assert [token for word in found for token in word.tokens] == list(range(17))


class Sentences:
    """A tokenizer of pieces, without a start token: as those that SigLIP's wrapper holds."""

    all_special_ids = (1,)

    def decode(self, ids: list[int]) -> str:
        pieces = {2: "▁red", 3: "▁du", 4: "ck", 1: ""}
        return "".join(pieces[i] for i in ids).replace("▁", " ").strip()


class Wrapper:
    tokenizer = Sentences()


def test_words_of_a_wrapped_tokenizer_without_a_start() -> None:
    found = words_of(Wrapper(), [2, 3, 4, 1, 1, 1], 6)
    assert [(w.text, w.tokens) for w in found] == [
        ("red", (0,)),
        ("duck", (1, 2)),
        ("<end>", (3,)),
        ("<pad>", (4, 5)),
    ]
    with pytest.raises(UsageError, match="object cannot turn tokens back into words"):
        words_of(object(), [1], 1)
