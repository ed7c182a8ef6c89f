"""The language model's client, against a real server that misbehaves."""

import asyncio
import base64
import contextlib
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm_server import SHAPES, Script, descriptions, scheduled, serving

from jobs.commands.pool.build import PoolBuildConfig
from pipeline.roles.prompts import RoleReply
from pipeline.texts.llm import Asker, Prompt
from pipeline.texts.pool_build import Descriptions, property_prompt
from pipeline.texts.reply import read_completion, read_reply
from pipeline.texts.server import Server
from schemas.errors import LanguageModelError, UsageError

KEY = "sk-secret-1234"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def prompts(n: int) -> list[Prompt[Descriptions]]:
    return [property_prompt("colour", 5, part) for part in range(n)]


def asker(url: str, cache: Path, **options: object) -> Asker:
    given = {"model": "tiny", "base_url": url, "retries": 4, "timeout": 20.0, **options}
    return Asker(Server(**given), cache)  # type: ignore[arg-type]


def test_every_answer_is_paid_once_through_all_faults(tmp_path: Path) -> None:
    script = Script(descriptions, faults=scheduled, key=KEY)
    with serving(script) as url:
        first = asker(url, tmp_path)
        answers = first.ask(prompts(40))
        again = asker(url, tmp_path)
        assert again.ask(prompts(40)) == answers
    assert all(answer is not None and len(answer.items) == 5 for answer in answers)
    assert set(script.good.values()) == {1}
    assert (first.counts.paid, again.counts.paid, again.counts.cached) == (40, 0, 40)
    thrown = first.counts
    assert min(thrown.malformed, thrown.cut_off, thrown.refused, thrown.empty) > 0
    assert again.counts.prompt_tokens == 0
    stored = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert KEY not in stored


@pytest.mark.parametrize(
    ("refuses", "form"),
    [
        ({"strict"}, "json_schema"),
        ({"strict", "json_schema"}, "json_object"),
        ({"strict", "json_schema", "json_object"}, "lines"),
    ],
)
def test_falls_back_to_the_form_that_the_server_can(
    tmp_path: Path, refuses: set[str], form: str
) -> None:
    script = Script(descriptions, refuses=frozenset(refuses))
    with serving(script) as url:
        answers = asker(url, tmp_path, concurrency=1).ask(prompts(3))
    assert script.forms[-3:] == [form] * 3
    assert len(script.forms) == 3 + len(refuses)
    assert [len(a.items) for a in answers if a is not None] == [5, 5, 5]


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_shape_a_good_answer_has_it_is_read_at_once(tmp_path: Path, shape: str) -> None:
    script = Script(descriptions, shape=shape)
    with serving(script) as url:
        one = asker(url, tmp_path)
        answers = one.ask(prompts(3))
        assert asker(url, tmp_path).ask(prompts(3)) == answers
    assert [[i.property for i in a.items] for a in answers if a is not None] == [["colour"] * 5] * 3
    assert script.forms == ["strict"] * 3
    assert one.counts.paid == 3
    assert one.counts.prompt_tokens == (0 if "usage" in shape else 300)


@pytest.mark.parametrize("status", [400, 404, 415, 422, 500, 501])
def test_a_form_that_is_refused_by_any_status_is_not_asked_for_again(
    tmp_path: Path, status: int
) -> None:
    refuses = frozenset({"strict", "json_schema"})
    script = Script(descriptions, refuses=refuses, refusal=status)
    with serving(script) as url:
        answers = asker(url, tmp_path).ask(prompts(6))
    assert all(a is not None and len(a.items) == 5 for a in answers)
    assert script.forms[-5:] == ["json_object"] * 5
    # a refusal ends a form at once; a failure, after it was tried twice again
    assert len(script.forms) == 6 + 2 * (3 if status >= 500 else 1)


def test_a_server_that_ignores_the_form_is_understood_or_asked_in_lines(tmp_path: Path) -> None:
    """What counts is what can be read: lines where JSON was asked for are an answer too."""
    script = Script(descriptions, ignores=True)
    with serving(script) as url:
        answers = asker(url, tmp_path / "lines").ask(prompts(3))
    assert all(a is not None and len(a.items) == 5 for a in answers)
    assert len(script.forms) == 3

    def prose(n: int) -> bytes | None:
        said = {"choices": [{"message": {"content": "I would rather write of the sea."}}]}
        return json.dumps(said).encode() if script.forms[-1] != "lines" else None

    script = Script(descriptions, raw=prose)
    with serving(script) as url:
        one = asker(url, tmp_path / "prose")
        answers = one.ask(prompts(5))
    assert all(a is not None and len(a.items) == 5 for a in answers)
    assert script.forms == ["strict"] * 2 + ["json_object"] * 2 + ["lines"] * 5
    assert one.counts.malformed == 4
    assert "4 malformed; one began 'I would rather write" in one.counts.thrown_away


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<!doctype html><title>Welcome</title>", "web page"),
        (b'{"error": {"message": "no such route"}}', "no such route"),
        (b"[1, 2]", "no object"),
        (b"", "no JSON"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_a_server_that_speaks_something_else_is_one_line(
    tmp_path: Path, body: bytes, words: str
) -> None:
    script = Script(descriptions, raw=lambda n: body or b" ")
    with serving(script) as url, pytest.raises(LanguageModelError, match=words) as caught:
        asker(url, tmp_path).ask(prompts(3))
    assert "\n" not in str(caught.value)
    assert "--base-url" in str(caught.value)
    assert len(script.forms) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices": []}',
        b'{"choices": null, "usage": null}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": null}}], "usage": {"prompt_tokens": null}}',
        b'{"choices": [null]}',
        b"<html>busy</html>",
    ],
)
def test_a_hollow_reply_among_good_ones_is_counted_and_asked_again(
    tmp_path: Path, body: bytes
) -> None:
    script = Script(descriptions, raw=lambda n: body if n == 3 else None)
    with serving(script) as url:
        one = asker(url, tmp_path, concurrency=1)
        answers = one.ask(prompts(4))
    assert all(a is not None and len(a.items) == 5 for a in answers)
    assert one.counts.empty + one.counts.malformed == 1
    assert one.counts.paid == 4


def test_credentials_of_the_address_are_sent_and_never_said_or_stored(tmp_path: Path) -> None:
    every = frozenset({"strict", "json_schema", "json_object", "lines"})
    with serving(Script(descriptions)) as url:
        secret = url.replace("http://", "http://someone:hunter22@") + "?token=t0ps3cret"
        one = asker(secret, tmp_path)
        assert one.server.url == url + "?token=***"
        assert one.ask(prompts(2))[0] is not None
        given = {"warehouse": tmp_path, "llm": "tiny", "base_url": secret}
        with pytest.raises(UsageError, match="name: Field required") as missing:
            PoolBuildConfig.checked(given)
        assert "hunter22" not in str(missing.value)
        config = PoolBuildConfig.checked({**given, "name": "p"})
        assert config.base_url == secret
        assert config.model_dump(mode="json")["base_url"] == url + "?token=***"
    stored = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    # this server echoes every header that it got
    with serving(Script(descriptions, refuses=every)) as url:
        secret = url.replace("http://", "http://someone:hunter22@")
        with pytest.raises(LanguageModelError, match="refuses the request") as caught:
            asker(secret, tmp_path / "new").ask(prompts(1))
    basic = base64.b64encode(b"someone:hunter22").decode()
    for word in ("hunter22", "someone", "t0ps3cret", basic, KEY):
        assert word not in stored
        assert word not in str(caught.value)
    assert "***" in str(caught.value)


def test_within_a_running_event_loop_as_in_a_notebook(tmp_path: Path) -> None:
    async def cell(url: str) -> list[Descriptions | None]:
        return asker(url, tmp_path).ask(prompts(3))

    with serving(Script(descriptions)) as url:
        answers = asyncio.run(cell(url))
    assert [len(a.items) for a in answers if a is not None] == [5, 5, 5]

    async def refused(url: str) -> None:
        with pytest.raises(LanguageModelError, match="no model"):
            asker(url, tmp_path, model="huge").ask(prompts(3))

    with serving(Script(descriptions)) as url:
        asyncio.run(refused(url))


def test_no_network_is_said_within_seconds(tmp_path: Path) -> None:
    with serving(Script(descriptions)) as url:
        gone = url
    started = time.monotonic()
    with pytest.raises(LanguageModelError, match="cannot reach"):
        asker(gone, tmp_path, retries=8).ask(prompts(3))
    assert time.monotonic() - started < 8


def test_roles_are_read_by_the_same_door() -> None:
    said = '<think>a {role}?</think>Here: {"role": "colour", "confidence": "80%", "why": "hues",}'
    assert read_reply(RoleReply, said) == RoleReply(role="colour", confidence=0.8, why="hues")
    listed = '[{"role": "colour", "confidence": 1, "why": "hues", "extra": []}]'
    assert read_reply(RoleReply, listed).confidence == 1
    for nothing in ("", "{}", "[]", "null", '{"role": "", "confidence": 1, "why": ""}'):
        with pytest.raises(ValueError, match=r"."):
            read_reply(RoleReply, nothing)


@given(st.text(), st.text(alphabet='{}[]<>/"\\:,|think \n', max_size=60))
def test_no_text_breaks_the_reader(before: str, after: str) -> None:
    """A reply is read, or it is a ValueError; a good one is found behind any prose without JSON."""
    for text in (before, after, before + after):
        with contextlib.suppress(ValueError):
            read_reply(Descriptions, text)
        with contextlib.suppress(ValueError):
            read_completion(text)


def test_questions_that_never_get_a_good_answer_are_counted(tmp_path: Path) -> None:
    script = Script(descriptions, faults=lambda question, n: "malformed")
    with serving(script) as url:
        hopeless = asker(url, tmp_path)
        assert hopeless.ask(prompts(2)) == [None, None]
    assert hopeless.counts.unanswered == 2
    assert not list(tmp_path.rglob("*.json"))


def test_a_bad_key_an_unknown_model_no_network_and_no_credit_are_one_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(url: str, **options: object) -> str:
        with pytest.raises(LanguageModelError) as caught:
            asker(url, tmp_path, **options).ask(prompts(3))
        said = str(caught.value)
        assert "\n" not in said
        assert KEY not in said
        return said

    with serving(Script(descriptions, key="sk-other")) as url:
        assert "OPENAI_API_KEY" in refused(url)
    with serving(Script(descriptions)) as url:
        assert "no model 'huge'" in refused(url, model="huge")
    assert "cannot reach" in refused(url, retries=0)
    with serving(Script(descriptions, faults=lambda question, n: "429")) as url:
        assert "429" in refused(url, retries=1)
    with serving(Script(descriptions, faults=lambda question, n: "500")) as url:
        assert "500" in refused(url, retries=1)
    every = frozenset({"strict", "json_schema", "json_object", "lines"})
    with serving(Script(descriptions, refuses=every)) as url:
        assert "refuses the request" in refused(url)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        Asker(Server("tiny"), tmp_path).ask(prompts(1))


def test_replies_are_read_from_fences_and_lines() -> None:
    fenced = 'Here:\n```json\n{"items": [{"text": "a red car", "property": "colour"}]}\n```'
    assert read_reply(Descriptions, fenced).items[0].text == "a red car"
    lines = "1. colour | a red car\n* place | on a beach\nnonsense"
    assert [i.property for i in read_reply(Descriptions, lines).items] == ["colour", "place"]
    with pytest.raises(ValueError, match="line"):
        read_reply(Descriptions, "I cannot help with that.")
