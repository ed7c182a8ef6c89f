"""The door: what a language model's server sent, read once, whatever shape it has.

Servers that speak chat completions differ: content is text, a list of parts, or null; usage is
absent or empty; a model thinks aloud first, writes prose around its JSON, leaves a comma behind,
adds keys of its own, or answers a list for an object that holds one. Nothing behind this module
sees any of it: a body becomes a `Received`, and its text a `Reply`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

Verdict = Literal["read", "refused", "cut_off", "empty"]


class Reply(BaseModel):
    """What a reply must hold; subclasses say how to ask for it, and to read it, as lines.

    Keys that nobody asked for are ignored where they come, and forbidden where they are asked for.
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )
    as_lines: ClassVar[str] = ""

    @classmethod
    def from_lines(cls, text: str) -> dict[str, Any]:
        """Read a reply that is lines of text, as the fields' values.

        Raises:
            ValueError: it cannot be read.
        """
        raise ValueError(f"no {cls.__name__} in lines")


R = TypeVar("R", bound=Reply)

_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)\b[^>]*>.*?</\1\s*>", re.S | re.I)
_THOUGHT_END = re.compile(r"^.*</(?:think|thinking|thought|reasoning)\s*>", re.S | re.I)
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.S)


@dataclass(frozen=True)
class Received:
    """A completion, as far as it goes.

    Attributes:
        verdict: `read` where there is text; else why there is none to read.
        text: what the model answered; empty unless there is some.
        prompt_tokens, completion_tokens: as the server counted them; 0 where it did not.
    """

    verdict: Verdict
    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


def read_completion(body: str) -> Received:
    """Read the body of a successful answer.

    Raises:
        ValueError: it is no chat completion: no JSON object, or one that reports an error.
    """
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        what = "a web page" if body.lstrip()[:1] == "<" else f"{body.strip()[:60]!r}"
        raise ValueError(f"{what}, no JSON") from None
    if not isinstance(sent, dict):
        raise ValueError(f"a JSON {type(sent).__name__}, no object")
    choices = sent.get("choices")
    if not isinstance(choices, list) and sent.get("error"):
        error = sent["error"]
        raise ValueError(str(error.get("message", error) if isinstance(error, dict) else error))
    if choices is not None and not isinstance(choices, list):
        raise ValueError("choices that are no list")
    usage = sent.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    counts = (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
    choice = choices[0] if choices and isinstance(choices[0], dict) else {}
    verdict, text = _of_choice(choice)
    return Received(verdict, text, *counts)


def _of_choice(choice: dict[str, Any]) -> tuple[Verdict, str]:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    finish = choice.get("finish_reason")
    content = message.get("content")
    if message.get("refusal") or finish == "content_filter" or _has_part(content, "refusal"):
        return "refused", ""
    text = _text(content) or _text(choice.get("text")) or _arguments(message)
    if finish == "length":
        return "cut_off", text
    if not text.strip():
        # some servers put the whole answer where the thoughts go
        text = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
        if not any(isinstance(value, (dict, list)) for value in _values(text)):
            return "empty", ""
    return "read", text


def _has_part(content: Any, kind: str) -> bool:
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == kind for part in content
    )


def _text(content: Any) -> str:
    """Return the text of a message's content: a string, or parts of which some are text."""
    if isinstance(content, str):
        return whole(content)
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return ""
    parts: list[Any] = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
            said = part.get("text", part.get("content"))
            parts.append(said.get("value", "") if isinstance(said, dict) else said)
    return whole("".join(part for part in parts if isinstance(part, str)))


def _arguments(message: dict[str, Any]) -> str:
    """Return the arguments of a tool's call: how some servers keep to a schema."""
    calls = message.get("tool_calls")
    call = calls[0] if isinstance(calls, list) and calls else None
    function = call.get("function") if isinstance(call, dict) else None
    return _text(function.get("arguments")) if isinstance(function, dict) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def whole(text: str) -> str:
    """Return text that can be written: halves of surrogate pairs become question marks."""
    return text.encode("utf-8", "replace").decode()


def read_reply(kind: type[R], text: str) -> R:
    """Read a reply that is JSON, also after thoughts, in a fence or in prose; or lines.

    The last JSON that fits counts. A list stands for an object with one list; an object within an
    object for itself.

    Raises:
        ValueError: it is none of these.
    """
    said = _THOUGHT_END.sub("", _THOUGHT.sub("", text))
    found: R | None = None
    for value in _values(said):
        for candidate in _candidates(kind, value):
            try:
                found = kind.model_validate(candidate)
            except ValidationError:
                continue
            break
    if found is not None:
        return found
    lines = "\n".join(line for line in said.splitlines() if not line.startswith("```"))
    return kind.model_validate(_clean(kind.from_lines(lines)))


def _values(text: str) -> Iterator[Any]:
    """Yield the outermost JSON objects and lists in a text; trailing commas do no harm."""
    text = _TRAILING_COMMA.sub(lambda found: found[1] or "", text)
    decoder, at = json.JSONDecoder(), 0
    while (start := _start(text, at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            at = start + 1
            continue
        yield _clean(value)


def _start(text: str, at: int) -> int:
    found = re.compile(r"[{\[]").search(text, at)
    return found.start() if found else -1


def _candidates(kind: type[Reply], value: Any) -> Iterator[Any]:
    """Yield what a value may mean: itself, a list by the name of the one field that is a list."""
    if isinstance(value, dict):
        yield value
        yield from (inner for inner in value.values() if isinstance(inner, dict))
        value = next((inner for inner in value.values() if isinstance(inner, list)), None)
    lists = [n for n, f in kind.model_fields.items() if get_origin(f.annotation) is list]
    if isinstance(value, list) and len(lists) == 1:
        yield {lists[0]: value}
    elif isinstance(value, list) and len(value) == 1:
        yield value[0]


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {whole(str(key)): _clean(one) for key, one in value.items()}
    return value
