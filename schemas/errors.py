"""Every error a person can meet, as one tree.

HeadAtlasError
├── UsageError               wrong option, wrong config                     (exit 2)
│   ├── UnknownName          a key, head, classifier, pool ... that is not there
│   └── UnsupportedModel     an architecture that cannot be decomposed exactly
├── SourceError              the listing of pictures cannot be read
│   └── DuplicateKey         two pictures under one key
├── StoreError               the warehouse on disk
│   ├── StaleScan            same name, another configuration
│   ├── CorruptStore         a file is missing, or its bytes or rows are not those written
│   ├── NewerFormat          a file was written by a newer version of this program
│   └── Locked               another run is writing this scan               (exit 4)
├── DecompositionError       the parts do not sum to encode_image
├── LanguageModelError       the language model's server refused or failed
└── RunFailed                shards failed for good; the rest is kept
    └── TooManyRejects       done, but more rejects than allowed            (exit 3)

Each message says what was got, what was expected and what to do, in one line.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import ClassVar

# Names that one is compared with, at most.
MANY = 10_000


def near(got: object, known: Iterable[str]) -> str:
    """Return `; did you mean NAME?` where one of the `known` names is like `got`, else nothing."""
    text, names = str(got), list(known)
    if len(names) > MANY:
        # a scan's keys: comparing takes tens of microseconds each
        alike = (n for n in names if n[:1] == text[:1] and abs(len(n) - len(text)) <= 2)
        names = list(islice(alike, MANY))
    found = get_close_matches(text, names, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def near_path(path: Path) -> str:
    """Return the same for a path that is not there, among what its folder holds."""
    if not path.parent.is_dir():
        return ""
    return near(path, (str(path.parent / other.name) for other in path.parent.iterdir()))


class HeadAtlasError(Exception):
    """Base of all errors that are shown to a person without a traceback.

    Attributes:
        done: what was done all the same, where there is something: it is said, and published.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, done: object = None) -> None:
        """Say `message`; `done` is the result of what was done all the same."""
        super().__init__(message)
        self.done = done


class UsageError(HeadAtlasError):
    """An option or a configuration value that cannot be used."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that does not exist; the message lists what exists instead."""

    @classmethod
    def among(cls, what: str, got: object, known: object) -> "UnknownName":
        """Say that `got` is no `what`, which of the `known` names is near, and list up to 40."""
        names = (
            sorted(str(k) for k in known)
            if isinstance(known, (list, tuple, set, frozenset, dict))
            else [str(known)]
        )
        listed = ", ".join(names[:40]) + (f", ... ({len(names)} in all)" if len(names) > 40 else "")
        return cls(f"no {what} {str(got)!r}; there is {listed or 'none yet'}{near(got, names)}")


class UnsupportedModel(UsageError):
    """An architecture whose embedding is not an exact sum over heads."""


class SourceError(HeadAtlasError):
    """The source of pictures cannot be listed."""


class DuplicateKey(SourceError):
    """Two pictures of one source have the same key."""


class StoreError(HeadAtlasError):
    """The warehouse on disk is not as it must be."""


class StaleScan(StoreError):
    """A scan of this name exists with another configuration."""

    exit_code = 2


class CorruptStore(StoreError):
    """A stored file is missing or differs from what was written."""


class NewerFormat(StoreError):
    """A stored file is of a format that only a newer version of this program reads."""


class Locked(StoreError):
    """Another run holds the lock of this scan."""

    exit_code = 4


class DecompositionError(HeadAtlasError):
    """The components do not sum to the model's own embedding."""


class LanguageModelError(HeadAtlasError):
    """The language model's server refused, failed or gave nothing usable."""


class RunFailed(HeadAtlasError):
    """Some shards failed for good; everything else is stored."""


class TooManyRejects(RunFailed):
    """The run is complete, but more pictures were rejected than allowed."""

    exit_code = 3
