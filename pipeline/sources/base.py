"""What a format of source is: which files it takes, the pictures in them, and their bytes."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from pipeline.sources.paths import Found
from pipeline.sources.plain import Shelf, read_plain
from pipeline.sources.request import Request
from schemas.members import Member

DAMAGED = "damaged: "


class Format:
    """One format; a module of this package that sets `FORMAT` to an instance adds one.

    A format whose pictures are files of their own says its `suffixes` and lists `members`; one
    that holds pictures inside its files also says which it `holds`, how to `read` and `reread`.

    Attributes:
        name: what a person calls a source of this format, after "a source is".
        expected: one such source, for the message that nothing was found.
        suffixes: of the files that it takes, lower case with the dot.
        only_named: taken when the person names the file, or when a folder holds nothing else;
            beside other files it is passed over, as a metadata.csv beside pictures.
        container: what one of its files is called, where it holds pictures.
    """

    name: ClassVar[str]
    expected: ClassVar[str]
    suffixes: ClassVar[frozenset[str]] = frozenset()
    only_named: ClassVar[bool] = False
    container: ClassVar[str] = "file"

    def claims(self, files: Sequence[Found], request: Request) -> list[Found]:
        """Return those of a source's files with these suffixes that are of this format.

        All of them by default; a format that shares a suffix with another looks inside one file.
        """
        return list(files)

    def members(self, files: Sequence[Found], request: Request) -> list[Member]:
        """List the pictures of the files that were claimed, in one order for every run.

        Raises:
            SourceError: a file cannot be read.
            DuplicateKey: two pictures have the same key.
            UsageError: an option names a column that is not there, or has no meaning here.
        """
        raise NotImplementedError

    def holds(self, uri: str) -> bool:
        """Say whether a picture with this `uri` lies inside a file of this format."""
        return False

    def read(self, member: Member, shelf: Shelf) -> bytes:
        """Return the bytes of a picture; `shelf` keeps files open from one picture to the next.

        Raises:
            Rejected: it is too large, or not a file.
            OSError, ValueError: it cannot be read.
        """
        return read_plain(member)

    def reread(
        self, key: str, uri: str, fingerprint: str, read: Callable[[Member], bytes]
    ) -> bytes:
        """Return the bytes of a stored picture, from what the warehouse keeps of it.

        A plain file that was replaced gives what is there now.

        Raises:
            Rejected: it cannot be read, or its container has changed since, so that another
                picture may lie there.
        """
        return read(Member(key, uri, fingerprint))


def damaged(file: Found, what: str, key: str | None = None) -> Member:
    """Return a member that is rejected when it is read: a file, or a part of it, is damaged."""
    return Member(key or file.name, file.uri, f"{DAMAGED}{' '.join(what.split())} {file.version}")
