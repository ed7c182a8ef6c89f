"""Pictures by scan and number, never by path: drawn once, and kept a while."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from jobs.explore.database import Database

KEPT_BYTES: Final = 64 * 2**20


@dataclass(frozen=True)
class Drawn:
    """An encoded picture, and whether the source still had it."""

    data: bytes
    media_type: str
    there: bool


class Pictures:
    """Thumbnails, made once and kept in memory up to a number of bytes."""

    def __init__(self, database: Database) -> None:
        """Look pictures up in `database`."""
        self._database = database
        self._kept: OrderedDict[tuple[str, int, bool], Drawn] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, scan: str, image_id: int, *, large: bool = False) -> Drawn:
        """Return a picture as JPEG; a placeholder that says so when it is not there any more."""
        from jobs.explore.originals import drawn

        at = (scan, image_id, large)
        with self._lock:
            if at in self._kept:
                self._kept.move_to_end(at)
                return self._kept[at]
        made = drawn(self._database, scan, image_id, large=large)
        if made.there:
            self._keep(at, made)
        return made

    def _keep(self, at: tuple[str, int, bool], made: Drawn) -> None:
        with self._lock:
            if at not in self._kept:
                self._kept[at] = made
                self._bytes += len(made.data)
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= len(gone.data)
