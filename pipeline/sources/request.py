"""What a person asks of a source, and the rules that all kinds of source share."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.errors import DuplicateKey, UsageError, near
from schemas.members import Member

FOLDER = "folder"
SPLITS = frozenset("train training val valid validation dev test testing trainval eval".split())
# Metadata nested more deeply than this is no table's; the database's JSON would refuse it too.
MAX_DEPTH = 100


class TooDeep(ValueError):
    """A value is nested too deeply to be kept as metadata."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(f"is nested too deeply, more than {MAX_DEPTH} levels")


@dataclass(frozen=True)
class Request:
    """A source and the options that say how to read it.

    Attributes:
        source: path, URL or pattern as written.
        labels: `folder`, or the name of the column with the label; None for no labels.
        path_column: column with the path, or in Parquet with the image bytes.
        root: folder that the paths of a listing start from; None for the listing's own folder.
        passed_over: filled while listing: what is no picture, in words, and how often.
        notes: filled while listing: what a person ought to know of how the source was read.
    """

    source: str
    labels: str | None = None
    path_column: str | None = None
    root: str | None = None
    passed_over: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def refuse_options(request: Request, kind: str, **unused: str | None) -> None:
    """Refuse options that a kind of source has no use for.

    Raises:
        UsageError: one of `unused` is given.
    """
    for name, value in unused.items():
        if value is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} {value}: {request.source} is {kind}, which has no "
                "use for it; leave it out"
            )


def with_folder_labels(
    members: Sequence[Member], name_of: Callable[[Member], str], request: Request
) -> list[Member]:
    """Return the members labelled by a folder of their relative paths, None where there is none.

    That is the first folder; where all first folders are splits of a data set (train, val, ...) or
    one folder of splits, it is the one below, and a note says so.

    Raises:
        UsageError: some first folders are splits, and some are not.
    """
    folders = [name_of(member).removeprefix("./").split("/")[:-1] for member in members]
    depth = _label_depth(folders)
    firsts = {path[depth] for path in folders if len(path) > depth}
    splits = sorted(name for name in firsts if name.lower() in SPLITS)
    if len(splits) > 1 and len(splits) < len(firsts):
        other = min(firsts - set(splits))
        raise UsageError(
            f"--labels folder: {splits[0]} and {splits[1]} are splits, {other} is not; give the "
            f"source one folder at a time, as {splits[0]}, or a listing with a label column"
        )
    if splits and len(splits) == len(firsts):
        request.notes.append(f"labels are {', '.join(splits)}: no folder below holds all pictures")
    if depth:
        above, first = "/".join(folders[0][:depth]), folders[0][depth]
        request.notes.append(f"labels are the folders below the splits, as {first} in {above}/")
    labels: dict[str, str] = {}
    found = []
    for member, path in zip(members, folders, strict=True):
        # one string object per label, not one per picture
        label = labels.setdefault(path[depth], path[depth]) if len(path) > depth else None
        found.append(replace(member, label=label or None))
    return found


def _label_depth(folders: Sequence[Sequence[str]]) -> int:
    depth = 0
    shallowest = min((len(path) for path in folders), default=0)
    while depth + 1 < shallowest:
        here = {path[depth] for path in folders}
        below = {path[depth + 1] for path in folders}
        above_splits = len(here) == 1 and _are_splits(below) and depth + 2 < shallowest
        if not (_are_splits(here) or above_splits):
            break
        depth += 1
    return depth


def _are_splits(names: Iterable[str]) -> bool:
    return all(name.lower() in SPLITS for name in names)


def label_text(value: Any) -> str | None:
    """Return a label column's value as text: 3.0 as `3`, NaN and null as None."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return clean_text(value) if isinstance(value, str) else str(value)


def clean_text(text: str) -> str:
    """Return text that UTF-8 can hold: lone surrogates become `\\uNNNN`."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def metadata_json(values: Mapping[str, Any]) -> str:
    """Write a row's other columns as a canonical JSON object; NaN and infinities are null.

    Raises:
        TooDeep: a value is nested too deeply.
    """
    if not values:
        return "{}"
    cleaned = {clean_text(str(name)): _plain(value) for name, value in values.items()}
    return json.dumps(cleaned, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= MAX_DEPTH:
        raise TooDeep
    if isinstance(value, Mapping):
        return {clean_text(str(name)): _plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, depth + 1) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def require_column(name: str, columns: Iterable[str], option: str, where: str) -> None:
    """Check that a named column exists.

    Raises:
        UsageError: it does not; the message lists those that do.
    """
    known = list(columns)
    if name not in known:
        listed = ", ".join(known[:20]) + (" ..." if len(known) > 20 else "")
        raise UsageError(
            f"{option} {name}: {where} has the columns {listed or '(none)'}{near(name, known)}"
        )


def require_unique(members: Sequence[Member], where: Callable[[int], str] | None = None) -> None:
    """Check that no key occurs twice; `where` says of a member's index where it was met.

    Raises:
        DuplicateKey: naming the first such key, how often it occurs and where.
    """
    if len({m.key for m in members}) == len(members):
        return
    counts = Counter(m.key for m in members)
    repeated = sorted(key for key, count in counts.items() if count > 1)
    key = repeated[0]
    places = [where(i) if where else m.uri for i, m in enumerate(members) if m.key == key]
    listed = ", ".join(list(dict.fromkeys(places))[:5]) + (", ..." if len(places) > 5 else "")
    more = f"; so do {len(repeated) - 1:,} other keys" if len(repeated) > 1 else ""
    raise DuplicateKey(
        f"the key {key!r} occurs {counts[key]} times ({listed}){more}; each picture needs a key "
        "of its own: remove or rename the others"
    )
