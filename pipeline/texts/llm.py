"""A language model behind any server that speaks the chat completions protocol.

Every accepted reply is kept on disk under the digest of what was asked, so a killed or repeated
run pays for nothing twice. Only the key is secret: it is read from the environment, and never
written, logged or part of a digest.

Structured output is asked for in the way that the server can: a strict JSON schema, a plain one, a
JSON object, else lines of text; what the server refuses (400, 422) is not asked for again.
"""

import asyncio
import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

import openai
from pydantic import BaseModel, ConfigDict

from schemas.errors import LanguageModelError, UsageError

MODES: Final = ("strict schema", "schema", "object", "lines")
# Times that one prompt is asked when replies come back malformed, cut off or empty.
ATTEMPTS: Final = 5
# Characters a token has, in English, for estimates.
CHARACTERS_PER_TOKEN: Final = 4.0


class Reply(BaseModel):
    """What a reply must hold; subclasses say how to ask for it, and to read it, as lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    as_lines: ClassVar[str] = ""

    @classmethod
    def from_lines(cls, text: str) -> dict[str, Any]:
        """Read a reply that is lines of text, as the fields' values.

        Raises:
            ValueError: it cannot be read.
        """
        raise ValueError(f"no {cls.__name__} in lines")


R = TypeVar("R", bound=Reply)


def read_reply(kind: type[R], text: str) -> R:
    """Read a reply that is JSON, also within a code fence or prose, or lines.

    Raises:
        ValueError: it is none of these.
    """
    start, end = text.find("{"), text.rfind("}")
    if 0 <= start < end:
        return kind.model_validate_json(text[start : end + 1])
    return kind.model_validate(kind.from_lines(text))


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


@dataclass(frozen=True)
class Server:
    """Where and how to ask.

    Attributes:
        model: name of the language model there.
        base_url: of the server's API, ending in /v1; None for OpenAI's own.
        key_variable: environment variable that holds the key.
        concurrency: questions in flight.
        retries: of one request, by the client, on 408, 409, 429, 5xx and lost connections.
        timeout: seconds for one request.
        temperature: None leaves it to the server.
    """

    model: str
    base_url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 8
    retries: int = 8
    timeout: float = 180.0
    temperature: float | None = None

    @property
    def url(self) -> str:
        """The address, for messages and digests."""
        return self.base_url or "https://api.openai.com/v1"

    def client(self) -> openai.AsyncOpenAI:
        """Return a client.

        Raises:
            UsageError: OpenAI's own server is asked, and there is no key.
        """
        key = os.environ.get(self.key_variable)
        if not key and self.base_url is None:
            raise UsageError(
                f"no key in the environment: set {self.key_variable}, or give --base-url of a "
                "server that needs none"
            )
        return openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=self.url,
            max_retries=self.retries,
            timeout=self.timeout,
        )


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

    def known(self, prompt: Prompt[R]) -> R | None:
        """Return the kept answer to a question; None when it has yet to be asked."""
        path = self._path(prompt)
        try:
            return read_reply(prompt.reply, json.loads(path.read_text())["text"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def ask(
        self, prompts: Sequence[Prompt[R]], done: Callable[[int], object] = lambda n: None
    ) -> list[R | None]:
        """Answer all questions, asking only those that are not known; None where nothing came.

        Args:
            prompts: the questions; equal ones are asked once.
            done: called with the number answered so far.

        Raises:
            LanguageModelError: the server refuses the key or the model, cannot be reached, or
                keeps failing. Answers that came before are kept.
        """
        return asyncio.run(self._ask_all(prompts, done))

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
            limit = asyncio.Semaphore(self.server.concurrency)
            async with self.server.client() as client:

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
        return [found[self._path(prompt)] for prompt in prompts]

    async def _answer(self, client: openai.AsyncOpenAI, prompt: Prompt[R]) -> R | None:
        for _ in range(ATTEMPTS):
            completion = await self._complete(client, prompt)
            if completion.usage is not None:
                self.counts.prompt_tokens += completion.usage.prompt_tokens
                self.counts.completion_tokens += completion.usage.completion_tokens
            choice = completion.choices[0] if completion.choices else None
            text = (choice.message.content or "") if choice else ""
            if choice is not None and getattr(choice.message, "refusal", None):
                self.counts.refused += 1
            elif choice is not None and choice.finish_reason == "content_filter":
                self.counts.refused += 1
            elif choice is not None and choice.finish_reason == "length":
                self.counts.cut_off += 1
            elif not text.strip():
                self.counts.empty += 1
            else:
                try:
                    answer = read_reply(prompt.reply, text)
                except ValueError:
                    self.counts.malformed += 1
                    continue
                self._keep(prompt, text)
                self.counts.paid += 1
                return answer
        self.counts.unanswered += 1
        return None

    async def _complete(self, client: openai.AsyncOpenAI, prompt: Prompt[R]) -> Any:
        """Send one question, falling back where the server refuses the form of the answer."""
        while True:
            mode = self._mode
            try:
                return await client.chat.completions.create(**self._request(prompt, MODES[mode]))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if mode + 1 == len(MODES) or not _about_format(error):
                    raise self._failure(error) from None
                self._mode = max(self._mode, mode + 1)
            except openai.OpenAIError as error:
                raise self._failure(error) from None
            except ValueError as error:
                # the body of a success was no JSON
                raise LanguageModelError(
                    f"{self.server.url} sent what is no chat completion ({_short(error)}); "
                    "expected a server that speaks chat completions: check --base-url"
                ) from None

    def _request(self, prompt: Prompt[R], mode: str) -> dict[str, Any]:
        user = prompt.user
        if mode == "lines":
            user = f"{user}\n\n{prompt.reply.as_lines}"
        elif mode == "object":
            schema = json.dumps(prompt.reply.model_json_schema())
            user = f"{user}\n\nAnswer with one JSON object of this schema: {schema}"
        request: dict[str, Any] = {
            "model": self.server.model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": user},
            ],
        }
        if self.server.temperature is not None:
            request["temperature"] = self.server.temperature
        if mode == "object":
            request["response_format"] = {"type": "json_object"}
        elif mode != "lines":
            described = {
                "name": prompt.reply.__name__,
                "schema": prompt.reply.model_json_schema(),
                **({"strict": True} if mode == "strict schema" else {}),
            }
            request["response_format"] = {"type": "json_schema", "json_schema": described}
        return request

    def _failure(self, error: openai.OpenAIError) -> LanguageModelError:
        """Say in one line what the server refused, and what to do."""
        server, again = self.server, "answers so far are kept: run the same command again to go on"
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            said = f"{server.url} refuses the key; check {server.key_variable}"
        elif isinstance(error, openai.NotFoundError):
            said = f"{server.url} has no model {server.model!r}: {_short(error)}; check --llm"
        elif isinstance(error, openai.RateLimitError):
            said = f"{server.url} keeps answering 429, too many requests or no credit; {again}"
        elif isinstance(error, openai.APITimeoutError):
            said = f"{server.url} did not answer within {server.timeout:.0f} s; {again}"
        elif isinstance(error, openai.APIConnectionError):
            said = f"cannot reach {server.url}; check the network and --base-url; {again}"
        elif isinstance(error, openai.InternalServerError):
            said = f"{server.url} keeps failing with {error.status_code}; {again}"
        else:
            said = f"{server.url} refuses the request: {_short(error)}"
        return LanguageModelError(said)

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
        aside.write_text(json.dumps(kept, ensure_ascii=False))
        aside.replace(path)


def _about_format(error: openai.APIStatusError) -> bool:
    """Whether a refusal can be about the form of the answer, not about the question."""
    said = str(error).lower()
    return not re.search(r"context.length|maximum context|too long|no such model|model_not", said)


def _short(error: Exception) -> str:
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(said or error).split())[:200]


def estimate_tokens(prompts: Sequence[Prompt[Any]], words_out: int) -> tuple[int, int]:
    """Return about how many tokens the questions have, and answers of `words_out` words each."""
    schema = {p.reply: len(json.dumps(p.reply.model_json_schema())) for p in prompts}
    characters = sum(len(p.system) + len(p.user) + schema[p.reply] for p in prompts)
    return round(characters / CHARACTERS_PER_TOKEN), round(len(prompts) * words_out * 1.4)
