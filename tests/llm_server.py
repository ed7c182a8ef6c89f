"""A chat completions server on loopback for tests: answers by rule, and misbehaves by schedule."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("429", "500", "cut off", "malformed", "empty", "refused")

# What real servers make of a good completion: each changes the body that is sent.
SHAPES: dict[str, Callable[[dict[str, Any], str], object]] = {
    "parts": lambda body, text: _say(
        body, [{"type": "thinking", "thinking": "{"}, {"type": "text", "text": text}]
    ),
    "null usage": lambda body, text: body.update(usage=None),
    "empty usage": lambda body, text: body.update(usage={}),
    "no usage": lambda body, text: body.pop("usage"),
    "braces in thoughts": lambda body, text: _say(
        body, '<think>{"items": [{"text": "no", "property": "no"}]} or {this}?</think>' + text
    ),
    "thoughts not begun": lambda body, text: _say(body, "so {items}...</think>\n" + text),
    "prose around": lambda body, text: _say(body, f"Sure {{here}}:\n```json\n{text}\n```\nBye!"),
    "trailing commas": lambda body, text: _say(
        body, text.replace("}]", "},]").replace("]}", "],}")
    ),
    "a list": lambda body, text: _say(body, json.dumps(json.loads(text)["items"])),
    "wrapped": lambda body, text: _say(body, json.dumps({"answer": json.loads(text)})),
    "extra keys": lambda body, text: _say(
        body, text.replace('"text"', '"score": 1, "text"').replace("{", '{"note": "x", ', 1)
    ),
    "in reasoning": lambda body, text: body["choices"][0]["message"].update(
        content=None, reasoning=text
    ),
    "in reasoning_content": lambda body, text: body["choices"][0]["message"].update(
        content="", reasoning_content=text
    ),
    "a tool's call": lambda body, text: body["choices"][0]["message"].update(
        content=None, tool_calls=[{"function": {"name": "f", "arguments": text}}]
    ),
    "unknown fields": lambda body, text: body.update(y=2, choices=body["choices"] * 2),
    "half a pair": lambda body, text: _say(body, text.replace("picture", "\\ud83d picture", 1)),
}


def _say(body: dict[str, Any], content: object) -> None:
    body["choices"][0]["message"]["content"] = content


@dataclass
class Script:
    """What the server does, and what it has done.

    Attributes:
        answer: question -> the object that a good answer holds.
        faults: one of FAULTS for a question's n-th request; "" for a good answer.
        refuses: forms of response_format that are answered with 400.
        key: the only key that is let in; None lets all in.
        model: the only model there is.
        shape: one of SHAPES, of every good answer in JSON.
        ignores: whether response_format is taken and ignored: prose with `property | text` lines.
        refusal: the status of what is in `refuses`.
        raw: the whole body of the n-th request's answer with status 200; None for an ordinary one.
        good: good answers sent, by digest of the question without its form.
    """

    answer: Callable[[str], dict[str, Any]]
    faults: Callable[[str, int], str] = lambda question, n: ""
    refuses: frozenset[str] = frozenset()
    key: str | None = None
    model: str = "tiny"
    shape: str = ""
    ignores: bool = False
    refusal: int = 400
    raw: Callable[[int], bytes | None] = lambda n: None
    delay: float = 0.0
    good: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    forms: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    script: Script

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the server's."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        script = self.server.script
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = asked["messages"][-1]["content"]
        form = asked.get("response_format", {"type": "lines"})
        kind = form["type"]
        if kind == "json_schema" and form["json_schema"].get("strict"):
            kind = "strict"
        if script.delay:
            threading.Event().wait(script.delay)
        with script.lock:
            script.forms.append(kind)
        if script.key is not None and self.headers["Authorization"] != f"Bearer {script.key}":
            self._send(401, _error("Incorrect API key provided"))
        elif asked["model"] != script.model:
            self._send(404, _error(f"The model {asked['model']!r} does not exist"))
        elif kind in script.refuses:
            said = f"response_format {kind} is not supported; you sent {self.headers.items()}"
            self._send(script.refusal, _error(said), {"retry-after-ms": "5"})
        else:
            self._answer(script, question, kind)

    def _answer(self, script: Script, question: str, kind: str) -> None:
        name = sha256(question.encode()).hexdigest()
        with script.lock:
            script.requests[name] += 1
            n = script.requests[name]
        fault = script.faults(question, n)
        if fault in ("429", "500"):
            headers = {"retry-after-ms": "5"}
            self._send(int(fault), _error("try again"), headers)
            return
        answer = script.answer(question)
        text = json.dumps(answer)
        if kind == "lines" or script.ignores:
            text = "\n".join(f"- {i['property']} | {i['text']}" for i in answer.get("items", ()))
        message: dict[str, Any] = {"role": "assistant", "content": text}
        finish = "stop"
        if fault == "cut off":
            message["content"], finish = text[: len(text) // 2], "length"
        elif fault == "malformed":
            message["content"] = "Sure! Here you are: {items: [" + text[5:20]
        elif fault == "empty":
            message["content"] = ""
        elif fault == "refused":
            message |= {"content": None, "refusal": "I cannot help with that"}
        else:
            with script.lock:
                script.good[name] += 1
        body = {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": script.model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
        }
        if script.shape and kind != "lines" and not fault:
            SHAPES[script.shape](body, text)
        self._send(200, script.raw(len(script.forms)) or body)

    def _send(
        self, status: int, body: dict[str, Any] | bytes, headers: dict[str, str] | None = None
    ) -> None:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        kind = "application/json" if sent[:1] == b"{" else "text/html"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """Run the server; yield its base URL."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.script = script
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def descriptions(question: str) -> dict[str, Any]:
    """Answer a pool question: as many items as asked for, the same for the same question."""
    count = int(re.search(r"Write (\d+)", question)[1])  # type: ignore[index]
    named = re.search(r"the property '([^']+)'", question)
    seed = sha256(question.split("\n\nAnswer")[0].encode()).hexdigest()[:10]
    items = [
        {"text": f"picture {seed} number {i}", "property": named[1] if named else "colour"}
        for i in range(count)
    ]
    return {"items": items}


def scheduled(question: str, n: int) -> str:
    """Misbehave on the first requests of two questions in three, in every way."""
    kind = int(sha256(question.encode()).hexdigest(), 16) % 9
    return FAULTS[kind] if kind < len(FAULTS) and n <= 1 + kind % 2 else ""
