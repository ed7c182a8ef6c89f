"""Values that pictures carry, as texts: `label`, or any column of their metadata."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from schemas.errors import UnknownName, UsageError
from warehouse.files.layout import ScanDir
from warehouse.store.reading import read_images

LABEL = "label"
READ = ("image_id", "label", "metadata")


def column(rows: pa.Table, name: str) -> list[str | None]:
    """Return one column of image rows, as SQL's `metadata->>'name'` would give it."""
    if name == LABEL:
        labels: list[str | None] = rows[LABEL].to_pylist()
        return labels
    return [_text(parse(text).get(name)) for text in rows["metadata"].to_pylist()]


def parse(text: str) -> Mapping[str, Any]:
    """Read a picture's metadata; numbers stay as they are written."""
    found = json.loads(text or "{}", parse_float=str, parse_int=str)
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def require_columns(scan: ScanDir, shards: Sequence[str], names: Sequence[str]) -> None:
    """Check that some picture has each of these columns.

    Raises:
        UnknownName: none has; the message lists the columns that there are.
    """
    missing = {name for name in names if name != LABEL}
    seen: set[str] = set()
    for shard in shards:
        if not missing:
            return
        for text in read_images(scan, [shard], ["metadata"])["metadata"].to_pylist():
            seen.update(parse(text))
        missing -= seen
    if missing:
        name = min(missing)
        raise UnknownName.among(f"column of scan {scan.name!r} called", name, {LABEL, *seen})


def truth(rows: pa.Table, name: str, labels: Sequence[str]) -> Int[np.ndarray, " image"]:
    """Return each picture's class by its value in a column; -1 where no class has that label."""
    index = {label: i for i, label in enumerate(labels)}
    return np.array([index.get(v or "", -1) for v in column(rows, name)], np.int64)


def condition(text: str) -> tuple[str, str]:
    """Read `column=value`.

    Raises:
        UsageError: it is not of that form.
    """
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise UsageError(f"{text!r}: expected column=value, as in split=1")
    return name.strip(), value.strip()
