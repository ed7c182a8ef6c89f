"""Reading over the network: within a time, within a size, tried again, and one host at a time.

A host that does not answer is left alone for a while, so that it does not hold up the others.
"""

import asyncio
import importlib.util
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.asyn import sync

from pipeline.pictures.decode import Rejected
from schemas.errors import SourceError, UsageError

# Seconds to connect, and between two pieces of an answer.
CONNECT, IDLE = 10.0, 20.0
# An answer may take this many seconds, and one more for each so many bytes.
GRACE, RATE = 30.0, 32 << 10
# What may pass is tried this often, with pauses that double, before it is given up.
TRIES, PAUSE, LONGEST_PAUSE = 3, 0.5, 30.0
# After so many reads in a row that were given up, a host is left alone for so many seconds.
GIVEN_UP, REST = 3, 60.0
MAX_LISTING = 2 << 30
_CHUNK = 1 << 16
_WEB = ("http://", "https://")
_PLAIN = {"Accept-Encoding": "identity"}
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
# Said of a host rather than of a file.
_BUSY = _PASSING - {500}
_EXTRAS = {"http": "remote", "https": "remote", "s3": "remote", "s3a": "remote"}


class Refused(OSError):
    """A server answered with a status that says no.

    Attributes:
        status: of HTTP.
        pause: seconds after which it asks to be tried again; None if it does not say.
    """

    def __init__(self, status: int, pause: float | None = None) -> None:
        """Keep the status."""
        super().__init__(f"the server answers {status}")
        self.status, self.pause = status, pause


class TooLarge(OSError):
    """An answer has more bytes than are read."""


@dataclass
class _Hosts:
    """Which hosts have not answered of late."""

    failures: dict[str, int] = field(default_factory=dict)
    rest_until: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, host: str) -> None:
        with self.lock:
            if self.rest_until.get(host, 0.0) > time.monotonic():
                raise TimeoutError(
                    f"{host} did not answer {GIVEN_UP} times in a row and is left alone for now"
                )

    def answered(self, host: str) -> None:
        with self.lock:
            self.failures.pop(host, None)
            self.rest_until.pop(host, None)

    def failed(self, host: str) -> None:
        with self.lock:
            self.failures[host] = self.failures.get(host, 0) + 1
            if self.failures[host] >= GIVEN_UP:
                self.rest_until[host] = time.monotonic() + REST


HOSTS = _Hosts()


def filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path in it, with time-outs.

    Raises:
        UsageError: there is no such protocol, or its package is not installed.
    """
    scheme = url.partition("://")[0]
    try:
        return fsspec.core.url_to_fs(url, **_options(scheme))
    except (ImportError, ValueError) as error:
        extra = _EXTRAS.get(scheme)
        hint = f"; pip install 'headatlas[{extra}]'" if extra else ""
        raise UsageError(f"{url}: {' '.join(str(error).split())}{hint}") from None


def read_remote(uri: str, offset: int, size: int, limit: int) -> bytes:
    """Return a remote file's bytes, or `size` of them from `offset` if that is not negative.

    Raises:
        Rejected: with the reason; what may pass has been tried several times.
    """
    start, end = (offset, offset + size) if offset >= 0 else (0, None)
    try:
        return _tried(uri, lambda: _read(uri, start, end, limit))
    except FileNotFoundError:
        raise Rejected("read", "no such file") from None
    except TooLarge:
        raise Rejected("read", f"more than {limit:,} bytes, the limit") from None
    except Exception as error:  # noqa: BLE001  each file system has errors of its own
        raise Rejected("read", _said(error)) from None


def read_listing(uri: str) -> bytes:
    """Return all bytes of a remote listing.

    Raises:
        SourceError: it cannot be read; what may pass has been tried several times.
    """
    try:
        return _tried(uri, lambda: _read(uri, 0, None, MAX_LISTING))
    except Exception as error:
        raise SourceError(f"cannot read {uri}: {_said(error)}") from error


def info(uri: str) -> dict[str, Any]:
    """Return what a file system says of a remote file: its size, and an ETag or the like.

    Raises:
        FileNotFoundError: it is not there.
        OSError: the server says no; what may pass has been tried several times.
    """
    fs, path = filesystem(uri)
    if uri.startswith(_WEB):
        return _tried(uri, lambda: sync(fs.loop, _head, fs, path))
    if getattr(fs, "async_impl", False):
        return _tried(uri, lambda: sync(fs.loop, fs._info, path, timeout=GRACE))
    return _tried(uri, lambda: fs.info(path))


def passing(error: BaseException) -> bool:
    """Say whether another try may end otherwise."""
    if isinstance(error, Refused):
        return error.status in _PASSING
    lasting = (FileNotFoundError, PermissionError, IsADirectoryError, TooLarge, UsageError)
    # a URL that is none, or a redirect to one, is a ValueError
    return not isinstance(error, (*lasting, ValueError, NotImplementedError, Rejected))


def unreachable(error: BaseException) -> bool:
    """Say whether an error is of the host, not of the one file that was asked of it.

    A host that answers something of no use for one file, as 500 or a redirect in a circle, may have
    all the others.
    """
    if isinstance(error, Refused):
        return error.status in _BUSY
    # aiohttp's errors are of the system where there is no answer, and its own where there is one
    return isinstance(error, OSError) or not type(error).__module__.startswith("aiohttp")


def _options(scheme: str) -> dict[str, Any]:
    if scheme in ("http", "https") and importlib.util.find_spec("aiohttp") is not None:
        import aiohttp

        # of what fsspec reads by itself, in blocks: tars and Parquet
        timeout = aiohttp.ClientTimeout(total=4 * GRACE, sock_connect=CONNECT, sock_read=IDLE)
        return {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    if scheme in ("s3", "s3a"):
        retries = {"max_attempts": TRIES, "mode": "standard"}
        waits = {"connect_timeout": CONNECT, "read_timeout": IDLE}
        return {"config_kwargs": {**waits, "retries": retries}}
    return {}


def _tried(uri: str, work: Callable[[], Any]) -> Any:
    host = urlsplit(uri).netloc or uri.partition("://")[0]
    for attempt in range(TRIES):
        HOSTS.check(host)
        try:
            found = work()
        except Exception as error:
            if not passing(error):
                HOSTS.answered(host)
                raise
            if attempt == TRIES - 1:
                (HOSTS.failed if unreachable(error) else HOSTS.answered)(host)
                raise
            asked = error.pause if isinstance(error, Refused) else None
            time.sleep(min(asked or PAUSE * 2**attempt, LONGEST_PAUSE))
        else:
            HOSTS.answered(host)
            return found
    raise AssertionError("the last try returns or raises")


def _read(uri: str, start: int, end: int | None, limit: int) -> bytes:
    fs, path = filesystem(uri)
    if uri.startswith(_WEB):
        found: bytes = sync(fs.loop, _get, fs, path, start, end, limit)
        return found
    stop = start + limit + 1 if end is None else end
    if getattr(fs, "async_impl", False):
        wait = 4 * GRACE + (0 if end is None else (end - start) / RATE)
        found = sync(fs.loop, fs._cat_file, path, start=start, end=stop, timeout=wait)
    else:
        found = fs.cat_file(path, start=start, end=stop)
    if len(found) > limit:
        raise TooLarge
    return found


async def _get(fs: Any, url: str, start: int, end: int | None, limit: int) -> bytes:
    """Read the answer piece by piece, so that no server decides how much or how long."""
    session = await fs.set_session()
    headers = {**_PLAIN, **({} if end is None else {"Range": f"bytes={start}-{end - 1}"})}
    parts: list[bytes] = []
    got, began = 0, asyncio.get_running_loop().time()
    async with asyncio.timeout_at(began + GRACE) as clock:
        async with session.get(url, headers=headers, timeout=_timeout()) as answer:
            _check(answer)
            if end is not None and answer.status != 206:
                raise NotImplementedError(
                    "the server ignores Range, without which nothing can be read inside a file "
                    "over HTTP; copy the file"
                )
            if (answer.content_length or 0) > limit:
                raise TooLarge
            async for piece in answer.content.iter_chunked(_CHUNK):
                got += len(piece)
                if got > limit or (end is not None and got > end - start):
                    raise TooLarge
                parts.append(piece)
                clock.reschedule(began + GRACE + got / RATE)
    return b"".join(parts)


async def _head(fs: Any, url: str) -> dict[str, Any]:
    """Ask for the headers; of a server that knows no HEAD, by an answer that is not read."""
    session = await fs.set_session()
    async with asyncio.timeout(GRACE):
        for method in (session.head, session.get):
            async with method(
                url, headers=_PLAIN, timeout=_timeout(), allow_redirects=True
            ) as answer:
                if method == session.head and answer.status in (400, 403, 405, 501):
                    continue
                _check(answer)
                found = {"size": answer.content_length, "ETag": answer.headers.get("ETag")}
                return {name: value for name, value in found.items() if value is not None}
    raise AssertionError("the last method returns or raises")


def _check(answer: Any) -> None:
    if answer.status in (404, 410):
        raise FileNotFoundError(str(answer.url))
    if answer.status >= 400:
        asked = answer.headers.get("Retry-After", "")
        raise Refused(answer.status, float(asked) if asked.isdecimal() else None)


def _timeout() -> Any:
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=IDLE)


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)) and not text:
        return "no answer in time, or too slow a one"
    # some of aiohttp's say nothing but the URL: of a redirect in a circle, or to no web page
    bare = text.startswith("0, message=''") or "://" in text.partition(" ")[0]
    return f"{type(error).__name__}: {text}" if bare else text or type(error).__name__
