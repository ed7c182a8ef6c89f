"""Which tokens of a tokenised text make up which word."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import UsageError

START, END, PAD, CLS = "<start>", "<end>", "<pad>", "<cls>"


@dataclass(frozen=True)
class Word:
    """A word of a text, or what a tokenizer adds.

    Attributes:
        text: as it is decoded; `<start>`, `<end>`, `<pad>` (all of it), `<cls>`.
        tokens: their places in the text.
    """

    text: str
    tokens: tuple[int, ...]


def words_of(tokenizer: Any, ids: Sequence[int], tokens: int) -> tuple[Word, ...]:
    """Return the words of one text, in order; each token is in exactly one.

    A word ends where what is decoded so far has a blank after it, whatever the tokenizer is.

    Args:
        tokenizer: open_clip's, or one that wraps a Hugging Face tokenizer.
        ids: the token ids.
        tokens: tokens of the residual stream: one more than ids where a class embedding follows.

    Raises:
        UsageError: the tokenizer cannot turn tokens back into words.
    """
    wrapped = getattr(tokenizer, "tokenizer", None)
    inner: Any = tokenizer if hasattr(tokenizer, "decode") else wrapped
    if not hasattr(inner, "decode") or not hasattr(inner, "all_special_ids"):
        raise UsageError(
            f"words: {type(tokenizer).__name__} cannot turn tokens back into words; run without "
            "--words"
        )
    special = set(inner.all_special_ids)
    found: list[Word] = []
    first = 1 if ids[0] in special else 0
    if first:
        found.append(Word(START, (0,)))
    end = next((i for i in range(first, len(ids)) if ids[i] in special), len(ids))
    spans: dict[int, list[int]] = {}
    for place in range(first, end):
        so_far = str(inner.decode([int(i) for i in ids[first : place + 1]]))
        spans.setdefault(max(len(so_far.split()), 1), []).append(place)
    for places in spans.values():
        text = str(inner.decode([int(ids[p]) for p in places])).strip()
        found.append(Word(text, tuple(places)))
    if end < len(ids):
        found.append(Word(END, (end,)))
    if end + 1 < len(ids):
        found.append(Word(PAD, tuple(range(end + 1, len(ids)))))
    if tokens > len(ids):
        found.append(Word(CLS, tuple(range(len(ids), tokens))))
    return tuple(found)
