"""The language model's client, against a real server that misbehaves."""

from pathlib import Path

import pytest
from llm_server import Script, descriptions, scheduled, serving

from pipeline.texts.llm import Asker, Prompt, Server, read_reply
from pipeline.texts.pool_build import Descriptions, property_prompt
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
