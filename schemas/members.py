"""A picture of a source before it is read: what the sources list and the store compares."""

from dataclasses import dataclass

UNREACHABLE = "unreachable"
"""Fingerprint of a picture whose server did not answer: it is taken for unchanged."""


@dataclass(frozen=True, slots=True)
class Member:
    """One picture as its source lists it.

    Attributes:
        key: the person's name for it, unique: relative path, `tar!member`, `file#row`.
        uri: path or URL of the file, or of the container, that holds its bytes.
        fingerprint: changes when the bytes change; made without reading them.
        label: label from the folder or the label column; None where there is none.
        metadata: all other columns, as a canonical JSON object (`{}` where there are none).
        offset: where in the container: byte offset (tar) or row (Parquet); -1 for a plain file.
        size: bytes in the container (tar); -1 where not needed.
    """

    key: str
    uri: str
    fingerprint: str
    label: str | None = None
    metadata: str = "{}"
    offset: int = -1
    size: int = -1


@dataclass(frozen=True, slots=True)
class Reject:
    """A picture that could not be used.

    Attributes:
        member: the picture.
        stage: `read`, `decode`, `model`, or `worker`: it took its worker's process with it.
        reason: one line that says why.
    """

    member: Member
    stage: str
    reason: str
