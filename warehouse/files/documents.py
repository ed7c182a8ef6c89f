"""Reading the JSON documents that a scan says of itself, each of a numbered format."""

import json
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from schemas.errors import CorruptStore, NewerFormat

Document = TypeVar("Document", bound=BaseModel)


def read_document(path: Path, kind: type[Document], what: str, missing: str) -> Document:
    """Read a document of any format up to the newest that this version knows.

    Args:
        path: the file.
        kind: its schema; its field `format` lists the formats that are read.
        what: what the file ought to be, for messages: `a scan record`.
        missing: what to do when there is no file.

    Raises:
        NewerFormat: a newer version of the program has written it.
        CorruptStore: it is absent, or is no such document.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise CorruptStore(f"{path} is missing; {missing}") from None
    refuse_newer(path, text, kind)
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise CorruptStore(
            f"{path} is not {what}: {where}: {first['msg']}; restore the file from a copy"
        ) from None


def refuse_newer(path: Path, text: bytes, kind: type[BaseModel]) -> None:
    """Refuse a document whose format is above those that `kind` lists; other faults pass.

    Raises:
        NewerFormat: it is.
    """
    try:
        found = json.loads(text)
    except ValueError:
        return
    number = found.get("format") if isinstance(found, dict) else None
    newest = max(get_args(kind.model_fields["format"].annotation))
    if isinstance(number, int) and number > newest:
        raise NewerFormat(
            f"{path} was written by a newer version, in format {number}; this one reads up to "
            f"{newest}: use the version that wrote it, or a later one"
        )
