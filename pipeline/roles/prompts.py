"""A head's role by a language model, given its texts and nothing else."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pydantic import Field, field_validator

from pipeline.texts.llm import Prompt
from pipeline.texts.reply import Reply

UNCLEAR: Final = "unclear"

_SYSTEM: Final = (
    "You name what an attention head of an image encoder does. You are given the texts that best "
    "describe what the head tells pictures apart by, the weightiest first, each with its share of "
    "the head's variance. Texts low in the list weigh little and are often noise."
)


class RoleReply(Reply):
    """The answer for one head."""

    as_lines: ClassVar[str] = (
        "Answer with three lines and nothing else: `role: ...`, `confidence: ...`, `why: ...`."
    )

    role: str = Field(min_length=1)
    confidence: float = Field(ge=0, le=1)
    why: str

    @field_validator("confidence", mode="before")
    @classmethod
    def _of_one(cls, given: Any) -> Any:
        """Read `80%`, `80 %` and 80 as 0.8."""
        text = str(given).strip()
        percent = text.endswith("%")
        try:
            value = float(text.rstrip("% "))
        except ValueError:
            return given
        return value / 100 if percent or 1 < value <= 100 else value

    @classmethod
    def from_lines(cls, text: str) -> dict[str, Any]:
        """Read `name: value` lines."""
        pairs = (line.strip().lstrip("-* ").partition(":") for line in text.splitlines())
        found = {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}
        if not {"role", "confidence", "why"} <= set(found):
            raise ValueError("expected lines role, confidence and why")
        return {name: found[name] for name in ("role", "confidence", "why")}


def role_prompt(
    texts: Sequence[str], shares: Sequence[float], properties: Sequence[str]
) -> Prompt[RoleReply]:
    """Ask for one head's role: a known property, a new word, or `unclear`.

    Args:
        texts: the head's picks, in order.
        shares: of the head's variance that each explains.
        properties: roles that are known.
    """
    listed = "\n".join(f"{share:.1%}  {text}" for text, share in zip(texts, shares, strict=True))
    known = ", ".join(properties) or "none"
    return Prompt(
        _SYSTEM,
        f"The head's texts:\n{listed}\n\nKnown roles: {known}.\n\nWhich role has the head? Give a "
        f"known role where one fits, else a new one in one or two words; {UNCLEAR!r} if the texts "
        "have nothing in common. Give your confidence from 0 to 1, and why, in one line.",
        RoleReply,
    )
