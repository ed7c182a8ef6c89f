"""Prompt templates, as options give them: written out, by a name, or in a file."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.texts.zeroshot import openai_templates, parse_templates
from schemas import text
from schemas.errors import UsageError

OPENAI = "openai"


def read_lines(given: str, what: str, words: str) -> list[str]:
    """Return the lines of a text file.

    Args:
        given: its path.
        what: the option, for messages.
        words: what may be given instead of a file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return text.read_lines(Path(given), f"a text file or {words}")
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None


def templates_of(given: Sequence[str]) -> tuple[str, ...]:
    """Return the templates that are given, each with one `{}`; () for texts as they are.

    Each of `given` is a template, `openai` (the 80 ImageNet templates) or a file with a template
    per line. Templates that are given twice count once.

    Raises:
        UsageError: one has no `{}` and is no file, or has several.
    """
    found: list[str] = []
    for one in given:
        if one == OPENAI:
            found += openai_templates()
        elif "{}" in one:
            found += parse_templates([one], "template")
        elif Path(one).is_file():
            found += parse_templates(read_lines(one, "template", OPENAI), one)
        else:
            raise UsageError(
                f"template {one!r} has no {{}} and is no file; expected a prompt with one {{}} for "
                f"the text, as 'a photo of {{}}', {OPENAI}, or a file with a prompt per line"
            )
    unique = tuple(dict.fromkeys(found))
    return () if unique == ("{}",) else unique
