"""Reading a picture's bytes, wherever its source keeps them: while scanning, and again later."""

from types import TracebackType

import pyarrow as pa

from pipeline.pictures.decode import Rejected
from pipeline.sources.base import DAMAGED
from pipeline.sources.plain import MAX_BYTES, Shelf, too_large
from pipeline.sources.registry import holder
from schemas.errors import UsageError
from schemas.members import Member


class Reader:
    """Reads members for one worker. Safe to share among its threads; close it when done."""

    def __init__(self) -> None:
        """Start with nothing open."""
        self._shelf = Shelf()

    def read(self, member: Member) -> bytes:
        """Return the bytes of a picture.

        Raises:
            Rejected: at stage `read`: not there, not a file, not readable, or too large.
        """
        kind = holder(member.uri)
        if member.fingerprint.startswith(DAMAGED):
            what = member.fingerprint.rpartition(" ")[0]
            raise Rejected("read", f"the {kind.container} is {what}")
        if member.size > MAX_BYTES:
            raise Rejected("read", too_large(member.size))
        try:
            return kind.read(member, self._shelf)
        except FileNotFoundError:
            raise Rejected("read", "no such file") from None
        except (OSError, ValueError, UsageError, pa.ArrowException) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise Rejected("read", text) from None

    def reread(self, key: str, uri: str, fingerprint: str) -> bytes:
        """Return the bytes of a picture that was scanned, from what the warehouse keeps of it.

        A plain file that was replaced gives what is there now.

        Raises:
            Rejected: it cannot be read, or its container has changed since.
        """
        return holder(uri).reread(key, uri, fingerprint, self.read)

    def close(self) -> None:
        """Close what is open; reading opens it again."""
        self._shelf.close()

    def __enter__(self) -> "Reader":
        """Return the reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what is open."""
        self.close()
