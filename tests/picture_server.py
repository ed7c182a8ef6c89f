"""A real HTTP server on loopback with pictures, and with the ways in which servers go wrong."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What is served, and what was asked.

    Attributes:
        files: by path; a path below `/MODE/` is served in that mode.
        asked: how often each (method, path) was asked for.
        stop: set to let hanging answers end.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Served]:
    """Serve files by their names under each mode until the end of the block.

    Modes: ok; hang (no answer); slow (headers a byte at a time); drip (a body likewise); flaky (503
    twice, then ok); norange; endless (no length, no end); large (says a length of a terabyte); cut
    (the connection ends early); nohead (HEAD is not allowed); denied (403); loop (redirects to
    itself); broken (what comes is not HTTP); failing (500); page (a page of text instead).
    """
    served = Served(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            served.asked[self.command, self.path] += 1
            _, mode, name = self.path.partition("?")[0].split("/", 2)
            data = served.files.get(name)
            try:
                getattr(self, f"mode_{mode}", self.mode_ok)(data, body)
            except (BrokenPipeError, ConnectionResetError):
                pass

        def mode_ok(self, data: bytes | None, body: bool, ranges: bool = True) -> None:
            if data is None:
                return self.status(404)
            asked = self.headers.get("Range") if ranges else None
            tag = f'"{hash(data) & 0xFFFF:x}"'
            part = data
            if asked:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                part = data[int(first) : int(last) + 1 if last else None]
            self.send_response(206 if asked else 200)
            self.send_header("ETag", tag)
            if asked:
                start = int(first)
                self.send_header(
                    "Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}"
                )
            if ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if body:
                self.wfile.write(part)
            return None

        def status(self, code: int, **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def mode_hang(self, data: bytes | None, body: bool) -> None:
            served.stop.wait(60)
            self.close_connection = True

        def mode_slow(self, data: bytes | None, body: bool) -> None:
            self.dripped(b"HTTP/1.1 200 OK\r\nX-Nothing: " + b"x" * 1000)

        def mode_drip(self, data: bytes | None, body: bool) -> None:
            if not body:
                return self.mode_ok(data, body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.dripped(data or b"")
            return None

        def dripped(self, data: bytes) -> None:
            for byte in data:
                if served.stop.wait(0.1):
                    break
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
            self.close_connection = True

        def mode_flaky(self, data: bytes | None, body: bool) -> None:
            if body and served.asked["GET", self.path] <= 2:
                return self.status(503, Retry_After="0")
            return self.mode_ok(data, body)

        def mode_norange(self, data: bytes | None, body: bool) -> None:
            self.mode_ok(data, body, ranges=False)

        def mode_endless(self, data: bytes | None, body: bool) -> None:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            while body and not served.stop.is_set():
                self.wfile.write(bytes(1 << 20))

        def mode_large(self, data: bytes | None, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
            self.close_connection = True
            if body:
                self.wfile.write(bytes(1 << 20))

        def mode_cut(self, data: bytes | None, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.close_connection = True
            if body:
                self.wfile.write((data or b"")[:100])

        def mode_nohead(self, data: bytes | None, body: bool) -> None:
            return self.mode_ok(data, body) if body else self.status(405)

        def mode_loop(self, data: bytes | None, body: bool) -> None:
            self.status(302, Location=self.path)

        def mode_broken(self, data: bytes | None, body: bool) -> None:
            self.wfile.write(b"\0\1\2 no HTTP\r\n\r\n")
            self.close_connection = True

        def mode_failing(self, data: bytes | None, body: bool) -> None:
            self.status(500)

        def mode_page(self, data: bytes | None, body: bool) -> None:
            self.mode_ok(b"<!doctype html><html>Please log in</html>", body)

        def mode_denied(self, data: bytes | None, body: bool) -> None:
            self.status(403)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
        time.sleep(0.05)
