"""Looking after a store: verify finds every damage, gc deletes what nobody names, one writer."""

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.commands.verify import VerifyConfig, check
from schemas.errors import CorruptStore, Locked, StaleScan, StoreError, UnknownName, UsageError
from tests.store import member, new_scan, plan, refresh, work
from warehouse.files.atomic import create_text, sha256_file, write_table, write_text
from warehouse.files.layout import ScanDir, Warehouse, probe_read, probe_remove, probe_write
from warehouse.files.lock import scan_lock
from warehouse.results.files import list_results, read_result, write_result
from warehouse.store import snapshots
from warehouse.store.frame_table import keep_frames
from warehouse.store.gc import DAY, collect
from warehouse.store.reading import read_images
from warehouse.store.shards import contributions_path, mlp_path
from warehouse.store.verify import verify


@pytest.fixture
def scan(tmp_path: Path) -> ScanDir:
    return new_scan(tmp_path)


@pytest.fixture
def filled(scan: ScanDir) -> ScanDir:
    refresh(scan, [member(k) for k in range(9)], {"003.png"})
    assert verify(scan).problems == ()
    return scan


def warehouse_of(scan: ScanDir) -> Warehouse:
    return Warehouse(scan.path.parent.parent)


def shard_of(scan: ScanDir, at: int = 0) -> Path:
    snapshot = snapshots.latest(scan)
    assert snapshot is not None
    return scan.shard(snapshot.shards[at].shard)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table], **options: object) -> None:
    """Replace a shard's file by a valid one with other rows, and its digest with it."""
    table = change(pq.ParquetFile(path).read())
    pq.write_table(table, path, **options)
    shard = path.parent if path.parent.name.startswith("s") else path.parent.parent
    manifest = shard / "manifest.json"
    document = json.loads(manifest.read_text())
    name = str(path.relative_to(shard))
    document["files"][name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    manifest.write_text(json.dumps(document))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def edit(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def set_column(table: pa.Table, name: str, values: object) -> pa.Table:
    at = table.schema.get_field_index(name)
    kind = table.schema.field(name)
    return table.set_column(at, kind, pa.array(values, kind.type))


def same_key(table: pa.Table) -> pa.Table:
    return set_column(table, "key", ["000.png", *table["key"].to_pylist()[1:]])


def far_id(table: pa.Table) -> pa.Table:
    return set_column(table, "image_id", [*table["image_id"].to_pylist()[:-1], 99])


def longer(table: pa.Table) -> pa.Table:
    return set_column(
        table, "embedding", [[2 * x for x in row] for row in table["embedding"].to_pylist()]
    )


def infinite(table: pa.Table) -> pa.Table:
    rows = np.array(table["vector"].to_pylist(), np.float16)
    rows[0, 0] = np.inf
    return set_column(table, "vector", list(rows))


def miscounted(table: pa.Table) -> pa.Table:
    return set_column(table, "n", [n + 1 for n in table["n"].to_pylist()])


LAYER = contributions_path(1)
DAMAGES: dict[str, tuple[Callable[[ScanDir], object], str]] = {
    "shard gone": (lambda s: shard_of(s).rename(s.path / "away"), "not reachable"),
    "file gone": (lambda s: (shard_of(s) / LAYER).unlink(), "missing"),
    "one bit": (lambda s: flip(shard_of(s) / LAYER), "sha256"),
    "one bit of mlp": (lambda s: flip(shard_of(s) / mlp_path(2)), "sha256"),
    "cut short": (lambda s: os.truncate(shard_of(s) / "images.parquet", 50), "50 bytes, not"),
    "a file more": (lambda s: (shard_of(s) / "x").write_text(""), "not in the manifest"),
    "manifest": (lambda s: edit(shard_of(s) / "manifest.json", rows=4), "snapshot's digest"),
    "no json": (lambda s: (shard_of(s) / "manifest.json").write_text("{"), "not a shard manifest"),
    "frames": (lambda s: s.frames.write_bytes(b"other"), "digest in scan.json"),
    "no frames": (lambda s: s.frames.unlink(), "missing"),
    "counts": (lambda s: edit(s.snapshot(1), images=7), "not as it says"),
    "fingerprint": (lambda s: edit(s.snapshot(1), fingerprint="f"), "fingerprint is not"),
    "next id": (lambda s: edit(s.snapshot(1), next_image_id=3), "not below next_image_id"),
    "same key": (lambda s: rewrite(shard_of(s, 1) / "images.parquet", same_key), "2 times"),
    "row lost": (lambda s: rewrite(shard_of(s) / "images.parquet", lambda t: t[1:]), "not as said"),
    "other id": (lambda s: rewrite(shard_of(s) / "images.parquet", far_id), "not the pictures"),
    "norm": (lambda s: rewrite(shard_of(s) / "images.parquet", longer), "unit norm"),
    "moments": (lambda s: rewrite(shard_of(s) / "moments.parquet", miscounted), "do not count"),
    "infinite": (
        lambda s: rewrite(shard_of(s) / LAYER, infinite, row_group_size=4),
        "not finite",
    ),
    "one row group": (lambda s: rewrite(shard_of(s) / LAYER, lambda t: t), "1 row groups"),
    "no statistics": (
        lambda s: rewrite(
            shard_of(s) / LAYER, lambda t: t, row_group_size=4, write_statistics=False
        ),
        "statistics",
    ),
    "rejects": (
        lambda s: write_result(s.rejects, pq.read_table(s.rejects)[1:], {"snapshot": 1}),
        "rejects",
    ),
}


def test_frames_for_sql_are_checked_and_kept_while_a_snapshot_is_of_them(scan: ScanDir) -> None:
    nights(scan, 2)
    record = scan.load_record()
    q = {1: np.linalg.qr(np.random.default_rng(0).standard_normal((2, 6, 3)))[0]}
    keep_frames(scan, record.frames_sha256, q)
    keep_frames(scan, "f" * 64, q)
    own, other = (scan.frame_table(digest) for digest in (record.frames_sha256, "f" * 64))
    assert pq.ParquetFile(own).num_row_groups == 2
    assert verify(scan).problems == ()
    scan.save_record(record.model_copy(update={"precision": "bf16"}))
    collect(warehouse_of(scan), scan.name)
    assert other.is_file()
    scan.save_record(record)
    size = other.stat().st_size
    assert collect(warehouse_of(scan), scan.name).bytes >= size
    assert own.is_file() and not other.exists()
    flip(own)
    assert any("sha256 differs" in p.problem for p in verify(scan).problems)


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_finds(filled: ScanDir, damage: str) -> None:
    spoil, said = DAMAGES[damage]
    spoil(filled)
    problems = verify(filled).problems
    assert any(said in p.problem for p in problems), problems


def test_a_quick_verify_reads_no_vectors_but_finds_missing_files(filled: ScanDir) -> None:
    flip(shard_of(filled) / LAYER)
    assert verify(filled, deep=False).problems == ()
    (shard_of(filled) / LAYER).unlink()
    assert [p.problem for p in verify(filled, deep=False).problems] == ["missing"]


def test_a_sample_reads_the_vectors_of_so_many_shards_and_all_else_of_all(scan: ScanDir) -> None:
    snapshot = refresh(scan, [member(k) for k in range(12)], shard_size=4)[1]
    shards = {live.shard for live in snapshot.shards}
    for shard in shards:
        flip(scan.shard(shard) / LAYER)

    def found(sample: int | None) -> list[str]:
        asked = VerifyConfig(warehouse=warehouse_of(scan).root, sample=sample)
        return [p.shard for p in check(asked).problems if "sha256" in p.problem]

    for sample in range(5):
        assert len(found(sample)) == len(set(found(sample))) == min(sample, len(shards)) <= 3
    assert set(found(None)) == shards
    drawn = {shard for _ in range(60) for shard in found(1)}
    assert drawn == shards  # each of them sometime, but for a chance of 1e-10
    flip(shard_of(scan, 2) / "images.parquet")
    assert found(0) == [shard_of(scan, 2).name]
    (shard_of(scan, 1) / contributions_path(3)).unlink()
    (missing,) = (p for p in verify(scan, sample=0).problems if p.problem == "missing")
    assert (missing.shard, missing.file) == (shard_of(scan, 1).name, contributions_path(3))


def test_a_scan_without_a_snapshot_is_not_finished(scan: ScanDir) -> None:
    assert [p.problem for p in verify(scan).problems] == [
        "no snapshot: the scan was never finished"
    ]


def nights(scan: ScanDir, count: int) -> None:
    for night in range(1, count + 1):
        refresh(scan, [member(k, version=night) for k in range(3)])


def publish(scan: ScanDir, version: int, number: int, *, whole: bool = True) -> None:
    versions = warehouse_of(scan).versions
    versions.mkdir(exist_ok=True)
    document = {"version": version, "scans": {scan.name: number}}
    (versions / f"atlas-{version:06d}.json").write_text(json.dumps(document))
    if whole:
        (versions / f"atlas-{version:06d}.duckdb").write_bytes(b"")


def test_gc_keeps_what_kept_snapshots_and_published_versions_name(scan: ScanDir) -> None:
    nights(scan, 6)
    publish(scan, 1, 2)
    publish(scan, 2, 3, whole=False)
    before = sum(p.stat().st_size for p in scan.shards.rglob("*") if p.is_file())
    collected = collect(warehouse_of(scan), scan.name, keep_snapshots=2)
    after = sum(p.stat().st_size for p in scan.shards.rglob("*") if p.is_file())
    assert snapshots.numbers(scan) == [2, 3, 5, 6]
    assert collected.snapshots == (1, 4)
    assert len(collected.shards) == 2
    assert collected.bytes == before - after
    for number in snapshots.numbers(scan):
        shards = [live.shard for live in snapshots.load(scan, number).shards]
        assert read_images(scan, shards)["fingerprint"].to_pylist() == [f"v{number}"] * 3
    assert verify(scan).problems == ()
    assert collect(warehouse_of(scan), scan.name, keep_snapshots=2).shards == ()


def test_gc_keeps_links_that_a_live_copy_shares(scan: ScanDir) -> None:
    refresh(scan, [member(k) for k in range(4)])
    refresh(scan, [member(k, label="a") for k in range(4)])
    collected = collect(warehouse_of(scan), scan.name, keep_snapshots=1)
    assert len(collected.shards) == 1
    assert verify(scan).problems == ()


def test_gc_keeps_an_interrupted_runs_shards_until_they_are_taken_up(scan: ScanDir) -> None:
    nights(scan, 1)
    listing = [member(k) for k in range(20)]
    work(scan, plan(scan, listing).scans[1])
    assert collect(warehouse_of(scan), scan.name).shards == ()
    todo, _ = refresh(scan, listing[:4])
    assert todo.scans
    assert len(collect(warehouse_of(scan), scan.name).shards) == 1


def test_gc_deletes_temporary_folders_only_after_a_day(scan: ScanDir) -> None:
    nights(scan, 1)
    young, old = scan.shards / ".tmp-young", scan.shards / ".tmp-old"
    young.mkdir()
    old.mkdir()
    (old / "part").write_text("x")
    past = time.time() - DAY - 60
    os.utime(old, (past, past))
    assert collect(warehouse_of(scan), scan.name).shards == (".tmp-old",)
    assert young.is_dir()


def test_gc_refuses_when_it_cannot_know(scan: ScanDir) -> None:
    nights(scan, 2)
    with pytest.raises(UsageError, match="expected 1 or more"):
        collect(warehouse_of(scan), scan.name, keep_snapshots=0)
    with scan_lock(scan), pytest.raises(Locked):
        collect(warehouse_of(scan), scan.name)
    publish(scan, 1, 1)
    (warehouse_of(scan).versions / "atlas-000001.json").unlink()
    with pytest.raises(StoreError, match=r"has no atlas-000001\.json beside it"):
        collect(warehouse_of(scan), scan.name, keep_snapshots=1)
    assert snapshots.numbers(scan) == [1, 2]


def hold(root: Path, taken: object, end: object) -> None:
    with scan_lock(Warehouse(root).scan("scan")):
        taken.set()  # type: ignore[attr-defined]
        end.wait(60)  # type: ignore[attr-defined]


def test_the_lock_names_its_holder_and_goes_with_its_process(scan: ScanDir) -> None:
    context = multiprocessing.get_context("spawn")
    taken, end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(warehouse_of(scan).root, taken, end))
    process.start()
    assert taken.wait(60)
    with pytest.raises(Locked, match=f"process {process.pid} of .* since 20"), scan_lock(scan):
        pass
    process.kill()
    process.join()
    with scan_lock(scan):
        pass


def race(root: Path, start: object, wins: object) -> None:
    start.wait(60)  # type: ignore[attr-defined]
    for number in range(30):
        try:
            create_text(root / f"{number}.json", str(os.getpid()))
        except FileExistsError:
            continue
        with wins.get_lock():  # type: ignore[attr-defined]
            wins.value += 1  # type: ignore[attr-defined]


def test_of_several_that_create_a_file_one_succeeds(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, wins = context.Event(), context.Value("i", 0)
    racers = [context.Process(target=race, args=(tmp_path, start, wins)) for _ in range(3)]
    for racer in racers:
        racer.start()
    start.set()
    for racer in racers:
        racer.join()
    assert wins.value == 30
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{n}.json" for n in range(30))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    with pytest.raises(pa.ArrowException, match="no such codec"):
        write_table(path, pa.table({"x": [1]}), compression="no such codec")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_scan_is_named_with_those_that_exist(scan: ScanDir) -> None:
    warehouse = warehouse_of(scan)
    warehouse.create_scan("begun")
    assert warehouse.scans() == ["scan"]
    with pytest.raises(UnknownName, match="no scan 'other'; there is scan"):
        warehouse.scan("other")
    with pytest.raises(UsageError, match="try 'a-b'"):
        warehouse.create_scan("a/b")
    with pytest.raises(CorruptStore, match="missing"):
        warehouse.create_scan("begun").load_record()


def test_another_configuration_is_refused_by_what_differs(scan: ScanDir) -> None:
    record = scan.load_record()
    scan.require_same(record.model_copy(update={"source": "elsewhere"}))
    with pytest.raises(StaleScan, match=r"precision \(fp32 there, bf16 now\).*--restart"):
        scan.require_same(record.model_copy(update={"precision": "bf16"}))
    model = record.model.model_copy(update={"weights_sha256": "1" * 64})
    with pytest.raises(StaleScan, match=r"model \(weights_sha256\)"):
        scan.require_same(record.model_copy(update={"model": model}))


def test_a_worker_that_sees_another_folder_is_refused(scan: ScanDir, tmp_path: Path) -> None:
    root = warehouse_of(scan).root
    token = probe_write(root)
    probe_read(root, token)
    with pytest.raises(StoreError, match="does not see the warehouse"):
        probe_read(tmp_path / "scans", token)
    probe_remove(root, token)
    with pytest.raises(StoreError):
        probe_read(root, token)


def test_a_result_carries_where_it_comes_from(scan: ScanDir) -> None:
    path = scan.textspan / "basis" / "textspan.parquet"
    table = pa.table({"x": [1, 2]})
    write_result(path, table, {"snapshot": 3, "m": 60})
    found, provenance = read_result(path)
    assert found.equals(table)
    assert provenance == {"snapshot": 3, "m": 60}
    write_result(path, table[1:], {"snapshot": 4})
    assert read_result(path)[1] == {"snapshot": 4}
    assert list_results(scan, "textspan") == [path]
    assert list_results(scan, "roles") == []
    with pytest.raises(CorruptStore, match="missing"):
        read_result(path.with_name("other.parquet"))
    pq.write_table(table, path)
    with pytest.raises(CorruptStore, match="no provenance"):
        read_result(path)
