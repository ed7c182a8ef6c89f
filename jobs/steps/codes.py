"""Attributes of pictures as small numbers, gathered shard by shard."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from schemas.errors import UnknownName, UsageError
from warehouse.store.columns import LABEL, plain, values_of
from warehouse.store.opened import OpenedScan

# An attribute with more values than this is a name, not a property.
MOST_VALUES = 200


@dataclass
class _Column:
    """One attribute while it is read: a code per value in order of first sight, -1 for none."""

    codes: Int[np.ndarray, " image"]
    known: dict[str, int] = field(default_factory=dict)

    def take(self, start: int, texts: Sequence[str | None]) -> None:
        known = self.known
        found = [-1 if t is None else known.setdefault(t, len(known)) for t in texts]
        self.codes[start : start + len(found)] = found

    def sorted(self) -> Int[np.ndarray, " image"]:
        """Return the codes with values numbered in their order as texts."""
        names = sorted(self.known)
        place = np.full(len(names) + 1, -1, np.int32)
        place[[self.known[name] for name in names]] = np.arange(len(names))
        found: np.ndarray = place[self.codes]
        return found


def read_codes(opened: OpenedScan, wanted: Sequence[str]) -> dict[str, Int[np.ndarray, " image"]]:
    """Return codes by attribute, in the order of the pictures; -1 where one has no value.

    Attributes are those wanted; or the label (as `label`) and every metadata column with 2 to 200
    values, which are not as many as half of the pictures.

    Raises:
        UnknownName: none has the attribute wanted.
        UsageError: there is no attribute.
    """
    n, start = opened.snapshot.images, 0
    names, columns = {LABEL}, dict[str, _Column]()
    names_only: set[str] = set()
    for shard in opened.shards:
        rows = opened.images_of(shard, ["label", "metadata"])
        parsed = [values_of(text) for text in rows["metadata"].to_pylist()]
        texts: dict[str, list[str | None]] = {
            LABEL: [None if v is None else plain(v) for v in rows[LABEL].to_pylist()]
        }
        for name in {name for row in parsed for name in row} - {LABEL}:
            texts[name] = [row.get(name) for row in parsed]
        names.update(texts)
        for name in texts.keys() - names_only:
            if wanted and name not in wanted:
                continue
            into = columns.setdefault(name, _Column(np.full(n, -1, np.int32)))
            into.take(start, texts[name])
            if not wanted and len(into.known) > MOST_VALUES:
                names_only.add(name)
                del columns[name]
        start += len(parsed)
    for name in wanted:
        if name not in names:
            raise UnknownName.among("attribute", name, sorted(names))
    few = min(MOST_VALUES, n // 2)
    found = {
        name: columns[name].sorted()
        for name in wanted or sorted(columns)
        if wanted or 2 <= len(columns[name].known) <= few
    }
    if not found:
        raise UsageError("no attribute with 2 to 200 values; give --attribute, or scan with labels")
    return found
