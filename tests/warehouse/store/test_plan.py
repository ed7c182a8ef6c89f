"""Refreshes, against a model: any sequence of changes and interruptions ends with the listing."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.members import Member
from tests.store import changes_nothing
from warehouse.store.plan import SCANNED, CopyTask, Live, Plan, RejectRow, Row, plan_refresh


def member(key: int, version: int = 0, label: str | None = None) -> Member:
    return Member(f"{key:03d}", f"/p/{key}", f"v{version}", label)


class Store:
    """Shards as sets of rows in memory, with the rules of the real ones."""

    def __init__(self) -> None:
        self.shards: dict[str, tuple[dict[int, Member], dict[str, Member], int]] = {}
        self.live: tuple[str, ...] = ()
        self.number = 0
        self.next_id = 0
        self.ids_ever: dict[int, tuple[str, str]] = {}

    def view(self) -> Live:
        adopted = {
            name: (len(rows), len(rejects))
            for name, (rows, rejects, base) in sorted(self.shards.items())
            if name.startswith(SCANNED) and name not in self.live and base == self.number
        }
        shards = {n: (len(self.shards[n][0]), len(self.shards[n][1])) for n in self.live}
        rows: dict[str, list[Row]] = {}
        rejects: dict[str, list[RejectRow]] = {}
        for name in (*shards, *adopted):
            stored, refused, _ = self.shards[name]
            for i, m in stored.items():
                row = Row(name, i, m.fingerprint, m.uri, m.label, m.metadata)
                rows.setdefault(m.key, []).append(row)
            for key, m in refused.items():
                rejects.setdefault(key, []).append(RejectRow(name, m.fingerprint, "decode"))
        return Live(self.number, self.next_id, shards, adopted, rows, rejects)

    def plan(self, listing: list[Member], size: int) -> Plan:
        return plan_refresh(self.view(), listing, shard_size=size, fingerprint="f")

    def scan(self, plan: Plan, bad: set[str], only: set[int] | None = None) -> None:
        for k, task in enumerate(plan.scans):
            if only is not None and k not in only:
                continue
            rows, rejects = {}, {}
            for m, i in zip(task.members, task.image_ids, strict=True):
                if m.key in bad:
                    rejects[m.key] = m
                else:
                    rows[i] = m
            self.shards.setdefault(task.shard, (rows, rejects, task.base_snapshot))

    def copy(self, task: CopyTask) -> None:
        rows, rejects, _ = self.shards[task.source]
        kept = {i: rows[i] for i in task.image_ids}
        for i, m in task.relabelled.items():
            kept[i] = replace(kept[i], label=m.label, uri=m.uri, metadata=m.metadata)
        left = {key: m for key, m in rejects.items() if key in task.rejects}
        self.shards[task.shard] = (kept, left, task.base_snapshot)

    def commit(self, plan: Plan) -> None:
        for task in plan.copies:
            self.copy(task)
        names = (*plan.keep, *(t.shard for t in plan.copies), *(t.shard for t in plan.scans))
        if set(names) != set(self.live):
            self.number += 1
        self.live, self.next_id = names, plan.next_image_id

    def rows(self) -> dict[str, tuple[int, Member]]:
        found: dict[str, tuple[int, Member]] = {}
        ids: set[int] = set()
        for name in self.live:
            for i, m in self.shards[name][0].items():
                assert m.key not in found, "a key is stored twice"
                assert i not in ids, "an image_id is stored twice"
                assert i < self.next_id
                assert self.ids_ever.setdefault(i, (m.key, m.fingerprint)) == (m.key, m.fingerprint)
                ids.add(i)
                found[m.key] = (i, m)
        return found

    def rejects(self) -> set[str]:
        return {key for name in self.live for key in self.shards[name][1]}


listings = st.dictionaries(
    st.integers(0, 25), st.tuples(st.integers(0, 2), st.sampled_from([None, "a", "b"])), max_size=20
)
finished_tasks = st.sets(st.integers(0, 8), max_size=5)
# listing, tasks finished if interrupted, whether interrupted, tasks that a worker which outlives
# its driver finishes after the next run was planned, shard size
nights = st.lists(
    st.tuples(listings, finished_tasks, st.booleans(), finished_tasks, st.integers(1, 6)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=50, deadline=None)
@given(nights=nights, bad=st.sets(st.integers(0, 25), max_size=4))
def test_any_history_ends_with_rows_and_rejects_equal_to_the_listing(nights, bad) -> None:
    store = Store()
    refused = {f"{key:03d}" for key in bad}
    before: dict[str, tuple[int, Member]] = {}
    late: tuple[Plan, set[int]] | None = None
    for listed, finished, interrupted, outliving, size in nights:
        listing = [member(k, v, label) for k, (v, label) in sorted(listed.items())]
        plan = store.plan(listing, size)
        if late is not None:
            store.scan(late[0], refused, only=late[1])
            late = None
        if interrupted:
            store.scan(plan, refused, only=finished)
            late = plan, outliving
            continue
        store.scan(plan, refused)
        store.commit(plan)
        rows = store.rows()
        assert {k: m for k, (_, m) in rows.items()} == {
            m.key: m for m in listing if m.key not in refused
        }
        assert store.rejects() == {m.key for m in listing if m.key in refused}
        for key, (i, m) in rows.items():
            if key in before and before[key][1].fingerprint == m.fingerprint:
                assert before[key][0] == i, "an unchanged picture got another image_id"
        before = rows
        again = store.plan(listing, size)
        assert changes_nothing(again)


def test_a_resumed_run_plans_the_very_shards_of_the_interrupted_one() -> None:
    listing = [member(k) for k in range(23)]
    whole, cut = Store(), Store()
    first = whole.plan(listing, 5)
    whole.scan(first, {"003"})
    whole.commit(first)
    cut.scan(cut.plan(listing, 5), {"003"}, only={0, 2, 3})
    resumed = cut.plan(listing, 5)
    assert {t.shard for t in resumed.scans} < {t.shard for t in first.scans}
    cut.scan(resumed, {"003"})
    cut.commit(resumed)
    assert cut.rows() == whole.rows()
    assert set(cut.live) == set(whole.live)


def test_unreadable_pictures_are_tried_again_undecodable_ones_only_when_asked() -> None:
    live = Live(
        base_snapshot=1,
        next_image_id=2,
        shards={"s1": (0, 2)},
        rejects={
            "001": [RejectRow("s1", "v0", "read")],
            "002": [RejectRow("s1", "v0", "decode")],
        },
    )
    listing = [member(1), member(2)]
    plan = plan_refresh(live, listing, shard_size=9, fingerprint="f")
    assert [m.key for t in plan.scans for m in t.members] == ["001"]
    assert [sorted(c.rejects) for c in plan.copies] == [["002"]]
    both = plan_refresh(live, listing, shard_size=9, fingerprint="f", retry_rejects=True)
    assert [m.key for t in both.scans for m in t.members] == ["001", "002"]
    assert both.copies == ()
