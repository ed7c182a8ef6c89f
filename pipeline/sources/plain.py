"""Bytes of plain files and of stretches of them, local or remote, and files kept open."""

import errno
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.pictures.decode import Rejected
from pipeline.sources.paths import local_path
from pipeline.sources.remote import PAUSE, TRIES, read_remote
from schemas.members import Member

# A file larger than this is rejected, not read.
MAX_BYTES = 256 << 20
# Containers kept open: one, and the next while other threads finish the first.
_PLACES = 2
# A network file system says these when its server is away for a moment.
_PASSING = frozenset({errno.EAGAIN, errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT})


class Shelf:
    """Containers that can be closed, kept open from one picture to the next; safe among threads."""

    def __init__(self) -> None:
        """Start with nothing open."""
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Any] = OrderedDict()

    @contextmanager
    def held(self, uri: str, make: Callable[[str], Any]) -> Iterator[Any]:
        """Give the container at `uri` to one thread alone, opened by `make` if it is not."""
        with self._lock:
            if uri not in self._open:
                self._open[uri] = make(uri)
                if len(self._open) > _PLACES:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(uri)
            yield self._open[uri]

    def close(self) -> None:
        """Close what is open; reading opens it again."""
        with self._lock:
            for container in self._open.values():
                container.close()
            self._open.clear()


def read_plain(member: Member) -> bytes:
    """Return a file's bytes, or `size` of them from `offset`.

    Raises:
        Rejected: it is too large, no regular file, or ends early.
        OSError, ValueError: it cannot be read; what may pass has been tried several times.
    """
    path = local_path(member.uri)
    if path is None:
        data = read_remote(member.uri, member.offset, member.size, MAX_BYTES)
        return data if member.offset < 0 else _whole(data, member.size)
    for attempt in range(TRIES):
        try:
            return _read_local(path, member.offset, member.size)
        except OSError as error:
            if error.errno not in _PASSING or attempt == TRIES - 1:
                raise
            time.sleep(PAUSE * 2**attempt)
    raise AssertionError("the last try returns or raises")


def too_large(size: int) -> str:
    """Say that a picture has too many bytes."""
    return f"{size:,} bytes or more, the limit is {MAX_BYTES:,}"


def _read_local(path: str, offset: int, size: int) -> bytes:
    status = os.stat(path)  # noqa: PTH116  Path.stat costs twice the time
    if stat.S_ISDIR(status.st_mode):
        raise Rejected("read", "it is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        # opening a pipe would wait for ever
        raise Rejected("read", "it is not a regular file")
    if offset < 0:
        if status.st_size > MAX_BYTES:
            raise Rejected("read", too_large(status.st_size))
        return Path(path).read_bytes()
    with Path(path).open("rb") as file:
        file.seek(offset)
        return _whole(file.read(size), size)


def _whole(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise Rejected("read", f"the container ends early: {len(data)} of {size} bytes")
    return data
