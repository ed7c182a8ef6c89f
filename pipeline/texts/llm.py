"""A language model behind any server that speaks the chat completions protocol.

Every accepted reply is kept on disk under the digest of what was asked, so a killed or repeated
run pays for nothing twice. The key, read from the environment, and credentials in the address are
secret: never written, said or part of a digest.

Structured output is asked for in the way that the server can: a strict JSON schema, a plain one, a
JSON object, else lines of text. In every way the question itself says the form. The first question
goes alone, and finds the way: one that the server refuses, fails on or answers unreadably is not
taken again.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic

from pipeline.texts.reply import R, Received, read_completion, read_reply
from pipeline.texts.server import Server, one_line, run_anywhere
from schemas.errors import LanguageModelError

if TYPE_CHECKING:
    import openai

MODES: Final = ("strict schema", "schema", "object", "lines")
# Times that one prompt is asked when replies come back malformed, cut off or empty.
ATTEMPTS: Final = 5
# Unreadable replies in a way that never worked, before the next way is taken.
STRIKES: Final = 2
# Retries of a request while it is unknown whether the server can be reached and asked so.
FIRST_RETRIES: Final = 2
# Characters a token has, in English, for estimates.
CHARACTERS_PER_TOKEN: Final = 4.0


@dataclass(frozen=True)
class Prompt(Generic[R]):
    """One question.

    Attributes:
        system: who is asked.
        user: what is asked.
        reply: what the answer must hold.
        sample: to ask the same again and get another answer.
    """

    system: str
    user: str
    reply: type[R]
    sample: int = 0

    def digest(self, base_url: str, model: str, temperature: float | None) -> str:
        """Return the sha256 of everything that decides the answer."""
        asked = {
            "base_url": base_url.rstrip("/"),
            "model": model,
            "system": self.system,
            "user": self.user,
            "schema": self.reply.model_json_schema(),
            "temperature": temperature,
            "sample": self.sample,
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass
class Counts:
    """What a run of questions came to.

    Attributes:
        cached: answers that had been paid for before.
        paid: accepted answers of this run.
        malformed, cut_off, refused, empty: answers thrown away, by reason.
        unanswered: questions for which nothing acceptable came.
        prompt_tokens, completion_tokens: as the server counted them, in this run.
        example: how the last malformed or cut-off answer began.
    """

    cached: int = 0
    paid: int = 0
    malformed: int = 0
    cut_off: int = 0
    refused: int = 0
    empty: int = 0
    unanswered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    example: str = ""

    @property
    def thrown_away(self) -> str:
        """How many answers were thrown away and why, with one example; empty for none."""
        reasons = ("malformed", "cut_off", "refused", "empty")
        found = [(name.replace("_", " "), getattr(self, name)) for name in reasons]
        said = ", ".join(f"{count:,} {name}" for name, count in found if count)
        return f"{said}; one began {self.example!r}" if said and self.example else said


@dataclass
class Asker:
    """Asks questions, with the answers of earlier runs at hand.

    Attributes:
        server: whom to ask.
        cache: folder of raw replies.
        counts: kept up to date while asking.
    """

    server: Server
    cache: Path
    counts: Counts = field(default_factory=Counts)
    _mode: int = 0
    _proven: bool = False
    _strikes: int = 0
    _heard: bool = False

    def known(self, prompt: Prompt[R]) -> R | None:
        """Return the kept answer to a question; None when it has yet to be asked."""
        path = self._path(prompt)
        try:
            return read_reply(prompt.reply, json.loads(path.read_text())["text"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def ask(
        self, prompts: Sequence[Prompt[R]], done: Callable[[int], object] = lambda n: None
    ) -> list[R | None]:
        """Answer all questions, asking only those that are not known; None where nothing came.

        Works within a running event loop too, as in a notebook.

        Args:
            prompts: the questions; equal ones are asked once.
            done: called with the number answered so far.

        Raises:
            LanguageModelError: the server refuses the key or the model, cannot be reached, or
                keeps failing. Answers that came before are kept.
        """
        return run_anywhere(lambda: self._ask_all(prompts, done))

    async def _ask_all(
        self, prompts: Sequence[Prompt[R]], done: Callable[[int], object]
    ) -> list[R | None]:
        found: dict[Path, R | None] = {}
        waiting: dict[Path, Prompt[R]] = {}
        for prompt in prompts:
            path = self._path(prompt)
            if path in found or path in waiting:
                continue
            kept = self.known(prompt)
            if kept is None:
                waiting[path] = prompt
            else:
                found[path] = kept
                self.counts.cached += 1
        done(len(found))
        if waiting:
            async with self.server.client() as client:
                if not self._proven:
                    path = next(iter(waiting))
                    found[path] = await self._answer(client, waiting.pop(path))
                    done(len(found))
                await self._ask_at_once(client, waiting, found, done)
        return [found[self._path(prompt)] for prompt in prompts]

    async def _ask_at_once(
        self,
        client: "openai.AsyncOpenAI",
        waiting: Mapping[Path, Prompt[R]],
        found: dict[Path, R | None],
        done: Callable[[int], object],
    ) -> None:
        limit = asyncio.Semaphore(self.server.concurrency)

        async def one(path: Path, prompt: Prompt[R]) -> None:
            async with limit:
                found[path] = await self._answer(client, prompt)
            done(len(found))

        tasks = [asyncio.create_task(one(*item)) for item in waiting.items()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, client: "openai.AsyncOpenAI", prompt: Prompt[R]) -> R | None:
        """Ask one question, several times if need be, and keep what can be read."""
        attempts = ATTEMPTS
        while attempts > 0:
            attempts -= 1
            mode, received = await self._complete(client, prompt)
            self.counts.prompt_tokens += received.prompt_tokens
            self.counts.completion_tokens += received.completion_tokens
            answer = None
            if received.verdict == "read":
                with contextlib.suppress(ValueError):
                    answer = read_reply(prompt.reply, received.text)
            if answer is not None:
                self._mode, self._proven = (mode, True) if not self._proven else (self._mode, True)
                self._keep(prompt, received.text)
                self.counts.paid += 1
                return answer
            self._throw_away(received)
            if received.verdict in ("read", "empty") and self._next_mode(mode):
                attempts = ATTEMPTS
        self.counts.unanswered += 1
        return None

    def _throw_away(self, received: Received) -> None:
        reason = "malformed" if received.verdict == "read" else received.verdict
        setattr(self.counts, reason, getattr(self.counts, reason) + 1)
        if received.text.strip():
            self.counts.example = self.server.masked(" ".join(received.text.split()))[:80]

    def _next_mode(self, mode: int) -> bool:
        """Count what was unreadable in a way that never worked; whether another is taken."""
        if self._proven or mode != self._mode or mode + 1 == len(MODES):
            return False
        self._strikes += 1
        if self._strikes < STRIKES:
            return False
        # what ignores a strict schema ignores a plain one
        self._mode, self._strikes = max(mode + 1, MODES.index("object")), 0
        return True

    async def _complete(
        self, client: "openai.AsyncOpenAI", prompt: Prompt[R]
    ) -> tuple[int, Received]:
        """Send one question, in the next way where the server cannot the first; say in which."""
        import openai

        mode = self._mode
        while True:
            last = mode + 1 == len(MODES)
            try:
                body = await self._send(client, prompt, mode)
            except openai.APIStatusError as error:
                if self._proven or last or not _about_format(error):
                    raise self.server.failure(error) from None
                mode += 1
                continue
            except openai.OpenAIError as error:
                raise self.server.failure(error) from None
            try:
                received = read_completion(body)
            except ValueError as error:
                if self._heard:
                    return mode, Received("read", body)
                raise LanguageModelError(
                    f"{self.server.url} sent what is no chat completion "
                    f"({self.server.masked(one_line(str(error)))}); expected a server that speaks "
                    "chat completions: check --base-url"
                ) from None
            self._heard = True
            if not self._proven:
                self._mode = max(self._mode, mode)
            return mode, received

    async def _send(self, client: "openai.AsyncOpenAI", prompt: Prompt[R], mode: int) -> str:
        """Return the body of the answer; until a way is proven, do not try long at what fails."""
        import openai

        request = self._request(prompt, MODES[mode])
        if self._proven or self.server.retries <= FIRST_RETRIES:
            return str((await client.chat.completions.with_raw_response.create(**request)).text)
        first = client.with_options(max_retries=FIRST_RETRIES)
        try:
            return str((await first.chat.completions.with_raw_response.create(**request)).text)
        except openai.InternalServerError:
            if mode + 1 < len(MODES):
                raise
        except openai.RateLimitError:
            pass
        return str((await client.chat.completions.with_raw_response.create(**request)).text)

    def _request(self, prompt: Prompt[R], mode: str) -> dict[str, Any]:
        schema = prompt.reply.model_json_schema()
        form = f"Answer with one JSON object of this schema: {json.dumps(schema)}"
        if mode == "lines":
            form = prompt.reply.as_lines
        request: dict[str, Any] = {
            "model": self.server.model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": f"{prompt.user}\n\n{form}"},
            ],
        }
        if self.server.temperature is not None:
            request["temperature"] = self.server.temperature
        if mode == "object":
            request["response_format"] = {"type": "json_object"}
        elif mode != "lines":
            described = {
                "name": prompt.reply.__name__,
                "schema": schema,
                **({"strict": True} if mode == "strict schema" else {}),
            }
            request["response_format"] = {"type": "json_schema", "json_schema": described}
        return request

    def _path(self, prompt: Prompt[R]) -> Path:
        digest = prompt.digest(self.server.url, self.server.model, self.server.temperature)
        return self.cache / digest[:2] / f"{digest}.json"

    def _keep(self, prompt: Prompt[R], text: str) -> None:
        """Write a raw reply whole or not at all, before it counts as received."""
        path = self._path(prompt)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {
            "text": text,
            "model": self.server.model,
            "received_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        aside = path.with_name(f".tmp-{uuid.uuid4().hex}")
        aside.write_text(json.dumps(kept, ensure_ascii=False), encoding="utf-8")
        aside.replace(path)


def _about_format(error: "openai.APIStatusError") -> bool:
    """Whether a refusal or a failure can be about the form of the answer, not the question."""
    if error.status_code in (401, 403, 408, 409, 413, 429):
        return False
    said = str(error).lower()
    return not re.search(r"context.length|maximum context|too long|\bmodel\b.*(not|exist)", said)


def estimate_tokens(prompts: Sequence[Prompt[Any]], words_out: int) -> tuple[int, int]:
    """Return about how many tokens the questions have, and answers of `words_out` words each."""
    schema = {p.reply: len(json.dumps(p.reply.model_json_schema())) for p in prompts}
    characters = sum(len(p.system) + len(p.user) + schema[p.reply] for p in prompts)
    return round(characters / CHARACTERS_PER_TOKEN), round(len(prompts) * words_out * 1.4)
