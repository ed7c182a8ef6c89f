"""What a refresh has to do: compare a listing with what is stored. Nothing is written here.

A picture is unchanged when its key and fingerprint are those of a stored row. Its row is kept; when
only its label, metadata or place differ, its shard is copied with rewritten image rows. Shards that
hold changed or vanished pictures are copied without them. What is new or changed is scanned under
new image_ids.

A run that was interrupted leaves whole shards that no snapshot names yet. They are adopted when
they were planned against the snapshot that is still the newest. Image_ids are given by position
among the pictures that no snapshot holds, and shards are named by what they hold: so a resumed run
plans the very shards of the interrupted one, unless the listing has changed, and then it gives ids
above all that were given before.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from schemas.files import IMAGES, REJECTS
from schemas.manifest import Snapshot, digest, members_digest
from schemas.members import UNREACHABLE, Member
from warehouse.files.layout import ScanDir
from warehouse.store import snapshots
from warehouse.store.reading import read_file, read_images, read_rejects
from warehouse.store.shards import MANIFEST, load_manifest

SCANNED: Final = "s"
COPIED: Final = "c"
MERGED: Final = "m"


class Row(NamedTuple):
    """A stored picture."""

    shard: str
    image_id: int
    fingerprint: str
    uri: str
    label: str | None
    metadata: str


class RejectRow(NamedTuple):
    """A picture that was rejected, and stays so while it is unchanged."""

    shard: str
    fingerprint: str
    stage: str


@dataclass(frozen=True)
class Live:
    """What is stored under one configuration.

    Attributes:
        base_snapshot: the newest snapshot's number; 0 before the first.
        next_image_id: above every id that a snapshot has given.
        shards: live shards, with their numbers of (rows, rejects).
        adopted: whole shards of an interrupted run, likewise.
        rows: stored pictures by key; several only after an interruption or a change.
        rejects: rejected pictures by key.
    """

    base_snapshot: int = 0
    next_image_id: int = 0
    shards: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    adopted: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    rejects: Mapping[str, Sequence[RejectRow]] = field(default_factory=dict)


@dataclass(frozen=True)
class ScanTask:
    """Pictures to scan into one shard."""

    shard: str
    members: tuple[Member, ...]
    image_ids: tuple[int, ...]
    members_sha256: str
    base_snapshot: int


@dataclass(frozen=True)
class CopyTask:
    """A shard to copy, without computing anything again.

    Attributes:
        source: the shard to copy from.
        shard: the copy's name.
        image_ids: rows to keep, ascending.
        relabelled: by image_id, the member whose label, metadata and uri the row takes.
        rejects: keys of the reject rows to keep.
        base_snapshot: the snapshot that this was planned against.
    """

    source: str
    shard: str
    image_ids: tuple[int, ...]
    relabelled: Mapping[int, Member]
    rejects: frozenset[str]
    base_snapshot: int


@dataclass(frozen=True)
class Plan:
    """What a refresh does.

    Attributes:
        keep: live and adopted shards that stay as they are.
        copies: shards to copy in part, or with other image rows.
        scans: shards to scan.
        next_image_id: above every id that this plan gives or keeps.
        unchanged: pictures whose contributions or verdicts are kept.
        adopted: of these, those that an interrupted run had finished.
        relabelled: of these, those whose label, metadata or uri differ.
        vanished: stored or rejected pictures that are not listed any more.
        base_snapshot: the newest snapshot, that the plan starts from; 0 for none.
        dropped: live shards of which nothing is left.
    """

    keep: tuple[str, ...]
    copies: tuple[CopyTask, ...]
    scans: tuple[ScanTask, ...]
    next_image_id: int
    unchanged: int
    adopted: int
    relabelled: int
    vanished: int
    base_snapshot: int
    dropped: int


def live_members(scan: ScanDir | None, fingerprint: str) -> Live:
    """Read what is stored: keys, fingerprints, labels and ids; no vector is read.

    Shards of a snapshot with another fingerprint (after --restart) do not count; their ids do.
    """
    snapshot = snapshots.latest(scan) if scan is not None else None
    if scan is None:
        return Live()
    base = snapshot.number if snapshot else 0
    shards: dict[str, tuple[int, int]] = {}
    if snapshot is not None and snapshot.fingerprint == fingerprint:
        shards = {live.shard: (live.rows, live.rejects) for live in snapshot.shards}
    adopted = adoptable(scan, fingerprint, snapshot)
    # a million pictures are held at once: one tuple each, and labels and metadata once
    rows: dict[str, tuple[Row, ...]] = {}
    rejects: dict[str, tuple[RejectRow, ...]] = {}
    once: dict[Any, Any] = {}
    columns = ["key", "image_id", "fingerprint", "uri", "label", "metadata"]
    for shard in (*shards, *adopted):
        folder = scan.shard(shard)
        table = read_file(folder / IMAGES, columns)
        for key, i, mark, uri, label, metadata in zip(
            *(table[c].to_pylist() for c in columns), strict=True
        ):
            shared = once.setdefault(label, label), once.setdefault(metadata, metadata)
            rows[key] = (*rows.get(key, ()), Row(shard, i, mark, uri, *shared))
        names = ["key", "fingerprint", "stage"]
        table = read_file(folder / REJECTS, names)
        for key, mark, stage in zip(*(table[c].to_pylist() for c in names), strict=True):
            rejects[key] = (*rejects.get(key, ()), RejectRow(shard, mark, stage))
    next_id = snapshot.next_image_id if snapshot else 0
    return Live(base, next_id, shards, adopted, rows, rejects)


def adoptable(
    scan: ScanDir, fingerprint: str, snapshot: Snapshot | None
) -> dict[str, tuple[int, int]]:
    """Return the whole shards that a run against the newest snapshot scanned but did not commit.

    With their numbers of (rows, rejects). Copies are not among them: they are quickly made again.
    """
    live = {s.shard for s in snapshot.shards} if snapshot else set()
    base = snapshot.number if snapshot else 0
    found = {}
    for path in sorted(scan.shards.glob(f"{SCANNED}*/{MANIFEST}")):
        if path.parent.name in live:
            continue
        manifest = load_manifest(scan, path.parent.name)
        if manifest.base_snapshot == base and manifest.fingerprint == fingerprint:
            found[manifest.shard] = (manifest.rows, manifest.rejects)
    return found


def holds_the_same(scan: ScanDir, snapshot: Snapshot, shards: Collection[str]) -> bool:
    """Whether these shards hold what a snapshot holds: then committing them would say nothing new.

    So it is when rejected pictures were tried again and ended as before. Compared are the pictures
    with their ids, bytes, labels, metadata and places, and the rejects with their reasons.
    """
    live = {one.shard for one in snapshot.shards}
    before, after = sorted(live - set(shards)), sorted(set(shards) - live)
    columns = ("image_id", "key", "uri", "label", "metadata", "fingerprint")
    old, new = (read_images(scan, some, columns).sort_by("image_id") for some in (before, after))
    if not old.equals(new):
        return False
    rejects = [read_rejects(scan, some).to_pylist() for some in (before, after)]
    was, now = (Counter(tuple(row.values()) for row in rows) for rows in rejects)
    return was == now


def plan_refresh(
    live: Live,
    listing: Sequence[Member],
    *,
    shard_size: int,
    fingerprint: str,
    retry_rejects: bool = False,
) -> Plan:
    """Decide what stays, what is copied and what is scanned.

    Pictures that could not be read are tried again; those that could not be decoded only when they
    have changed, or with `retry_rejects`.
    """
    live = _without_clashes(live)
    kept: defaultdict[str, dict[int, Member | None]] = defaultdict(dict)
    kept_rejects: defaultdict[str, set[str]] = defaultdict(set)
    outside: list[Member] = []  # held by no snapshot: new, changed, or adopted
    given: list[int | None] = []  # the id that an adopted row has already
    settled: list[bool] = []
    adopted = 0
    for member in listing:
        row = next((r for r in live.rows.get(member.key, ()) if _same(r, member)), None)
        reject = None
        if row is None:
            reject = _standing_reject(live, member, retry_rejects)
        if row is not None:
            other = (row.uri, row.label, row.metadata) != (
                member.uri,
                member.label,
                member.metadata,
            )
            kept[row.shard][row.image_id] = member if other else None
        elif reject is not None:
            kept_rejects[reject.shard].add(member.key)
        shard = row.shard if row else reject.shard if reject else None
        if shard is None or shard in live.adopted:
            outside.append(member)
            given.append(row.image_id if row else None)
            settled.append(shard is not None)
            adopted += shard is not None
    keep, copies = _stored(live, kept, kept_rejects, fingerprint)
    ids, next_id = _image_ids(live, given, settled)
    new = [(m, i) for m, i, done in zip(outside, ids, settled, strict=True) if not done]
    listed = {member.key for member in listing}
    stored = live.rows.keys() | live.rejects.keys()
    return Plan(
        keep=keep,
        copies=copies,
        scans=_scan_tasks(new, shard_size, fingerprint, live.base_snapshot),
        next_image_id=next_id,
        unchanged=len(listing) - len(new),
        adopted=adopted,
        relabelled=sum(m is not None for rows in kept.values() for m in rows.values()),
        vanished=len(stored - listed),
        base_snapshot=live.base_snapshot,
        dropped=len(live.shards.keys() - {*keep, *(task.source for task in copies)}),
    )


def _without_clashes(live: Live) -> Live:
    """Leave out adopted shards that give an image_id that an earlier one has given.

    Two runs that were both interrupted may have planned other pictures under the same ids, and a
    worker of the older may have finished its shard after the younger was planned.
    """
    by_shard: dict[str, set[int]] = {shard: set() for shard in live.adopted}
    for rows in live.rows.values():
        for row in rows:
            if row.shard in by_shard:
                by_shard[row.shard].add(row.image_id)
    seen: set[int] = set()
    clashing = set()
    for shard in sorted(by_shard):
        if seen.isdisjoint(by_shard[shard]):
            seen |= by_shard[shard]
        else:
            clashing.add(shard)
    if not clashing:
        return live
    return replace(
        live,
        adopted={s: counts for s, counts in live.adopted.items() if s not in clashing},
        rows={k: [r for r in rows if r.shard not in clashing] for k, rows in live.rows.items()},
        rejects={
            k: [r for r in rejects if r.shard not in clashing]
            for k, rejects in live.rejects.items()
        },
    )


def _same(row: Row, member: Member) -> bool:
    return member.fingerprint in (row.fingerprint, UNREACHABLE)


def _standing_reject(live: Live, member: Member, retry: bool) -> RejectRow | None:
    """Return the verdict that still holds for this picture, if there is one."""
    for reject in live.rejects.get(member.key, ()):
        if reject.fingerprint != member.fingerprint:
            continue
        # within one interrupted run a verdict stands; trying again is for the next run
        if reject.shard in live.adopted or not (retry or reject.stage == "read"):
            return reject
    return None


def _stored(
    live: Live,
    kept: Mapping[str, Mapping[int, Member | None]],
    kept_rejects: Mapping[str, set[str]],
    fingerprint: str,
) -> tuple[tuple[str, ...], tuple[CopyTask, ...]]:
    """Sort stored shards into those that stay, those to copy, and (left out) those to drop."""
    keep: list[str] = []
    copies: list[CopyTask] = []
    for shard, (n_rows, n_rejects) in {**live.shards, **live.adopted}.items():
        rows, rejects = kept.get(shard, {}), kept_rejects.get(shard, set())
        relabelled = {i: m for i, m in rows.items() if m is not None}
        if (len(rows), len(rejects)) == (n_rows, n_rejects) and not relabelled:
            keep.append(shard)
        elif rows or rejects:
            ids = tuple(sorted(rows))
            labels = {i: [m.uri, m.label, m.metadata] for i, m in relabelled.items()}
            what = digest([fingerprint, live.base_snapshot, shard, ids, labels, sorted(rejects)])
            name = f"{COPIED}{what[:16]}"
            copies.append(
                CopyTask(shard, name, ids, relabelled, frozenset(rejects), live.base_snapshot)
            )
    return tuple(keep), tuple(copies)


def _image_ids(
    live: Live, given: Sequence[int | None], settled: Sequence[bool]
) -> tuple[list[int], int]:
    """Give ids to the pictures outside every snapshot; return them, and the next free one."""
    first = live.next_image_id
    by_position = range(first, first + len(given))
    used = [row.image_id for rows in live.rows.values() for row in rows]
    highest = max(used, default=-1)
    taken = {
        row.image_id for rows in live.rows.values() for row in rows if row.shard in live.adopted
    }
    fresh_taken = any(
        position in taken for position, done in zip(by_position, settled, strict=True) if not done
    )
    if not fresh_taken and all(
        i is None or i == position for i, position in zip(given, by_position, strict=True)
    ):
        return list(by_position), max(first + len(given), highest + 1)
    start = max(first, highest + 1)
    ids, free = [], start
    for i, done in zip(given, settled, strict=True):
        if done:
            ids.append(-1 if i is None else i)
        else:
            ids.append(free)
            free += 1
    return ids, free


def _scan_tasks(
    new: Sequence[tuple[Member, int]], shard_size: int, fingerprint: str, base: int
) -> tuple[ScanTask, ...]:
    starts = range(0, len(new), shard_size)
    return tuple(_scan_task(new[s : s + shard_size], fingerprint, base) for s in starts)


def _scan_task(chunk: Sequence[tuple[Member, int]], fingerprint: str, base: int) -> ScanTask:
    """Return the task of these pictures, named by what it holds."""
    members = members_digest({i: (m.key, m.fingerprint) for m, i in chunk})
    labels = [[m.uri, m.label, m.metadata] for m, _ in chunk]
    return ScanTask(
        shard=SCANNED + digest([fingerprint, base, members, labels])[:16],
        members=tuple(m for m, _ in chunk),
        image_ids=tuple(i for _, i in chunk),
        members_sha256=members,
        base_snapshot=base,
    )


def halves(task: ScanTask, fingerprint: str) -> tuple[ScanTask, ...]:
    """Return a task's two halves, with the ids that it gave; none for one picture alone."""
    if len(task.members) < 2:
        return ()
    both, middle = list(zip(task.members, task.image_ids, strict=True)), len(task.members) // 2
    parts = (both[:middle], both[middle:])
    return tuple(_scan_task(part, fingerprint, task.base_snapshot) for part in parts)
