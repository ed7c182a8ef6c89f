"""What pictures say of themselves: `label`, or any column of their metadata, read in one way.

A listing in CSV knows no types, one in Parquet does, and pandas writes 1 as 1.0 beside a blank
cell. So every value is read as a text in one spelling, by `plain`, and texts are compared:

- a number is spelled as short as it can be: 1, 1.0 and "1.0" are `1`, 2.50 is `2.5`, 1e-07 is
  `0.0000001`. A text is a number as JSON writes one, an exponent with its sign; so `007`, `+1`,
  `1e5` and ` 1` are texts, and stay as they are;
- true, True and TRUE are `true`, false alike; 1 is a number, not true;
- null and blank cells are no value;
- anything else, a label too, is a text, exactly as it is listed.

SQL reads the same by the macros `plain_value` and `metadata_value`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from schemas.errors import UnknownName, UsageError, near
from warehouse.files.layout import ScanDir
from warehouse.store.reading import read_images

LABEL = "label"
READ = ("image_id", "label", "metadata")

_NUMBER: Final = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-][0-9]{1,3}))?")
_BLANK: Final = re.compile(r"[ \t\n\r]*")
_FLAGS: Final = {word: word.lower() for word in ("true", "True", "TRUE", "false", "False", "FALSE")}


def plain(text: str) -> str | None:
    """Return a value as one text, whatever it was written like; None where it is blank."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return _FLAGS.get(text, None if _BLANK.fullmatch(text) else text)
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4] or 0)
    point = len(whole) + exponent
    digits = (whole + fraction).rjust(len(whole + fraction) - min(point, 0), "0").ljust(point, "0")
    point = max(point, 0)
    number = digits[:point].lstrip("0") or "0"
    after = digits[point:].rstrip("0")
    return f"{sign}{number}.{after}" if after else "0" if number == "0" else f"{sign}{number}"


def kind_of(values: Iterable[str]) -> str:
    """Return the SQL type of a column's values, as `plain` gives them: that which all are."""
    found = "VARCHAR"
    for value in values:
        match = _NUMBER.fullmatch(value)
        if value in ("true", "false"):
            kind = "BOOLEAN"
        elif match is not None:
            kind = "BIGINT" if match[3] is None and len(match[2]) <= 18 else "DOUBLE"
        else:
            return "VARCHAR"
        if found == "VARCHAR" or {found, kind} == {"BIGINT", "DOUBLE"}:
            found = kind if found == "VARCHAR" else "DOUBLE"
        elif found != kind:
            return "VARCHAR"
    return found


def values_of(metadata: str) -> dict[str, str]:
    """Return the values of a picture's metadata, by column, as `plain`; a nested one is JSON."""
    found: dict[str, str] = {}
    nested: Mapping[str, Any] | None = None
    for name, value in parse(metadata).items():
        if isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, str):
            text = plain(value)
            if text is not None:
                found[name] = text
        elif value is not None:
            nested = nested or json.loads(metadata)
            found[name] = json.dumps(nested[name], separators=(",", ":"), ensure_ascii=False)
    return found


def column(rows: pa.Table, name: str) -> list[str | None]:
    """Return one column of image rows, as `plain` reads it and SQL's `metadata_value`."""
    if name == LABEL:
        return [None if v is None else plain(v) for v in rows[LABEL].to_pylist()]
    return [values_of(text).get(name) for text in rows["metadata"].to_pylist()]


def parse(text: str) -> Mapping[str, Any]:
    """Read a picture's metadata; numbers stay as they are written."""
    found = json.loads(text or "{}", parse_float=str, parse_int=str)
    return found if isinstance(found, dict) else {}


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


def require_value(scan: ScanDir, shards: Sequence[str], kept: tuple[str, str] | None) -> None:
    """Check that some picture has a column's value, where one is asked for.

    Raises:
        UsageError: none has; the message lists the values that there are.
    """
    if kept is None:
        return
    name, value = kept
    if not any(value in column(read_images(scan, [shard], READ), name) for shard in shards):
        there = values_there(scan, shards, name, value)
        raise UsageError(f"no picture of scan {scan.name!r} with {name}={value}; {there}")


def values_there(scan: ScanDir, shards: Sequence[str], name: str, value: str) -> str:
    """Say which values a column has, the most frequent first, for a message that one is not."""
    counts = Counter(
        found
        for shard in shards
        for found in column(read_images(scan, [shard], READ), name)
        if found is not None
    )
    listed = ", ".join(f"{found} ({n:,})" for found, n in counts.most_common(8))
    more = f", ... ({len(counts):,} in all)" if len(counts) > 8 else ""
    return f"{name} is {listed or 'nowhere set'}{more}{near(value, counts)}"


def truth(rows: pa.Table, name: str, labels: Sequence[str]) -> Int[np.ndarray, " image"]:
    """Return each picture's class by its value in a column; -1 where no class has that label."""
    index = {plain(label): i for i, label in enumerate(labels)}
    return np.array([-1 if v is None else index.get(v, -1) for v in column(rows, name)], np.int64)


def condition(text: str) -> tuple[str, str]:
    """Read `column=value`, the value as `plain`.

    Raises:
        UsageError: it is not of that form, or has no value.
    """
    name, sign, value = text.partition("=")
    read = plain(value.strip())
    if not sign or not name.strip() or read is None:
        raise UsageError(f"{text!r}: expected column=value, as in split=1")
    return name.strip(), read
