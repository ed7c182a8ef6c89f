"""A language model's server: where it is, what of it is secret, and what its refusals say."""

import asyncio
import base64
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from schemas.addresses import without_credentials
from schemas.errors import LanguageModelError, UsageError

if TYPE_CHECKING:
    import openai

A = TypeVar("A")


@dataclass(frozen=True)
class Server:
    """Where and how to ask.

    Attributes:
        model: name of the language model there.
        base_url: of the server's API, ending in /v1; None for OpenAI's own. It may hold a user and
            a password, which are sent and never said.
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
        """The address without credentials, for messages, digests and what is stored."""
        return without_credentials(self.base_url) or "https://api.openai.com/v1"

    def masked(self, text: str) -> str:
        """Return a text with the key, and what is secret in the address, starred."""
        for secret in _secrets(self.base_url, os.environ.get(self.key_variable)):
            text = text.replace(secret, "***")
        return text

    def client(self) -> "openai.AsyncOpenAI":
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
        # a second of a core, and only who asks needs it
        import openai

        return openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=self.base_url or self.url,
            max_retries=self.retries,
            timeout=self.timeout,
        )

    def failure(self, error: "openai.OpenAIError") -> LanguageModelError:
        """Say in one line what the server refused, and what to do."""
        import openai

        again = "answers so far are kept: run the same command again to go on"
        short = self.masked(_short(error))
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            said = f"{self.url} refuses the key; check {self.key_variable}"
        elif isinstance(error, openai.NotFoundError):
            said = f"{self.url} has no model {self.model!r}: {short}; check --llm"
        elif isinstance(error, openai.RateLimitError):
            said = f"{self.url} keeps answering 429, too many requests or no credit; {again}"
        elif isinstance(error, openai.APITimeoutError):
            said = f"{self.url} did not answer within {self.timeout:.0f} s; {again}"
        elif isinstance(error, openai.APIConnectionError):
            said = f"cannot reach {self.url}; check the network and --base-url; {again}"
        elif isinstance(error, openai.InternalServerError):
            said = f"{self.url} keeps failing with {error.status_code}; {again}"
        else:
            said = f"{self.url} refuses the request: {short}"
        return LanguageModelError(said)


def _short(error: Exception) -> str:
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    return one_line(str(said or error))


def one_line(text: str) -> str:
    """Return a text on one line, of at most 200 characters that can be shown."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:200]


def _secrets(url: str | None, key: str | None) -> list[str]:
    """Return what must not be said, as it may be spelled in an echo, the longest first."""
    found = {key or ""}
    parts = urlsplit(url or "")
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    found |= {user, password, *(value for _, value in parse_qsl(parts.query))}
    if user:
        pair = f"{unquote(user)}:{unquote(password)}"
        found |= {base64.b64encode(pair.encode()).decode(), pair}
    found |= {unquote(secret) for secret in found}
    return sorted((secret for secret in found if len(secret) > 2), key=len, reverse=True)


def run_anywhere(main: Callable[[], Coroutine[Any, Any, A]]) -> A:
    """Run a coroutine to its end, also where an event loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    thread = threading.Thread(target=_run_to_end, args=(loop, task), daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    finally:
        loop.close()
    return task.result()


def _run_to_end(loop: asyncio.AbstractEventLoop, task: asyncio.Task[A]) -> None:
    with contextlib.suppress(BaseException):  # the task itself keeps it
        loop.run_until_complete(task)
    loop.run_until_complete(loop.shutdown_asyncgens())
