"""Every command that writes leaves one record of how it went, and nothing secret in it."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

import headatlas as ha
from jobs import cli
from jobs.command import commands
from jobs.recording import configuration_digest
from schemas.runs import RUNS, RunRecord
from tests import warm
from tests.store import new_scan
from tests.synthetic import write_scan
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.store.runs import FRESH, OLDER, prune_runs, read_runs, run_path, write_run

READERS = {
    *("circuit", "explore", "export", "info", "map", "nearest", "runs", "sql", "verify"),
    *("pool compare", "pool list"),
}
WRITERS = {
    *("ablate", "edges", "effects", "pairs", "texts"),
    *("compact", "demo", "evaluate", "gc", "map-statistics", "publish", "push", "refresh", "scan"),
    *("pool build", "pool import", "pool random", "pool words", "roles build", "roles set"),
    *("segment", "spurious", "textspan", "zeroshot"),
    *("concepts", "drift", "match", "module-cosines", "similarity"),
}


def headatlas(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def record(**values: object) -> RunRecord:
    given = {"run": "r", "command": "scan", "configuration": "", "versions": {}, "machine": "m"}
    return RunRecord.model_validate({**given, "started_at": "2026-01-01T00:00:00+00:00", **values})


def test_what_writes_leaves_a_record_and_what_reads_does_not() -> None:
    known = {c.name: c.writes for c in commands()}
    assert not any(known[name] for name in READERS)
    assert all(writes for name, writes in known.items() if name in WRITERS)


def test_a_command_that_reads_changes_nothing(published: Path) -> None:
    def files() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in published.rglob("*") if p.is_file()}

    before = files()
    for arguments in (("runs",), ("sql", "FROM runs"), ("verify", "--quick"), ("pool", "list")):
        assert headatlas(*arguments, "--warehouse", published) == 0
    assert files() == before


def test_a_run_is_recorded_and_published_with_itself_as_ended(tmp_path: Path) -> None:
    root = tmp_path / "w"
    write_scan(root)
    texts = tmp_path / "t.txt"
    texts.write_text("a red bird\na blue car\n")
    assert headatlas("pool", "import", texts, "--name", "t", "--warehouse", root) == 0
    assert headatlas("publish", "--warehouse", root) == 0
    done = read_runs(Warehouse(root))
    assert [(r.command, r.outcome, r.exit_code) for r in done] == [
        ("publish", "done", 0),
        ("pool import", "done", 0),
    ]
    assert all(r.seconds and r.ended_at and r.versions["headatlas"] for r in done)
    assert done[0].counts["version"] == 1
    shown = query(Warehouse(root), "FROM runs ORDER BY started_at DESC LIMIT 100").to_pylist()
    assert [(r["command"], r["outcome"]) for r in shown] == [(r.command, r.outcome) for r in done]
    assert all(isinstance(r["started_at"], datetime) and r["seconds"] > 0 for r in shown)
    assert set(shown[0]) == {column.name for column in RUNS.columns}
    assert json.loads(shown[0]["versions"]) == done[0].versions


def test_a_scan_says_how_many_and_how_fast(world: Path, tiny_config: Path, tmp_path: Path) -> None:
    options = {"path_column": "img_filename", "model": str(tiny_config), "pretrained": "none"}
    options["workers"] = 0
    done = ha.scan(str(world), warehouse=tmp_path / "w", scan="s", **options, publish=True)
    (row,) = query(Warehouse(tmp_path / "w"), "FROM runs").to_pylist()
    assert (row["command"], row["scan_id"], row["outcome"]) == ("scan", "s", "done")
    assert (row["images"], row["scanned"], row["rejects"]) == (240, 240, 0)
    assert row["rate"] == pytest.approx(240 / done.seconds)
    assert json.loads(row["stages"]) == done.timing.model_dump()
    ha.scan(str(world), warehouse=tmp_path / "w", scan="s", **options, dry_run=True)
    assert len(read_runs(Warehouse(tmp_path / "w"))) == 1


def test_errors_are_recorded_with_their_code_and_no_password(tmp_path: Path) -> None:
    root = tmp_path / "w"
    scan = ("--model", "ViT-B-32", "--pretrained", "none", "--warehouse", root)
    # refused in a folder that was not there: nothing is left behind
    assert headatlas("textspan", "--pool", "p", "--warehouse", root) == 2
    assert not root.exists()
    new_scan(root)
    assert headatlas("scan", "https://me:secret@127.0.0.1:9/a.csv?key=secret", *scan) == 1
    assert headatlas("textspan", "--pool", "p", "--warehouse", root) == 2
    refused, failed = read_runs(Warehouse(root))
    assert (refused.outcome, refused.exit_code) == ("refused", 2)
    assert (failed.outcome, failed.exit_code) == ("failed", 1)
    assert failed.message and "127.0.0.1" in failed.message
    assert all(b"secret" not in path.read_bytes() for path in (root / "runs").iterdir())
    given = [{"base_url": f"http://me:{word}@h/v1", "warehouse": word} for word in "ab"]
    assert configuration_digest(given[0]) == configuration_digest(given[1])
    assert configuration_digest(given[0]) != configuration_digest({"base_url": "http://h/v2"})


@pytest.mark.parametrize(
    ("number", "outcome"), [(signal.SIGKILL, "unfinished"), (signal.SIGTERM, "interrupted")]
)
def test_a_run_that_is_stopped_shows_as_such(
    number: signal.Signals, outcome: str, tmp_path: Path
) -> None:
    root = tmp_path / "w"
    write_scan(root)
    (root / "atlas").mkdir()
    # publishing waits for the lock that this test holds
    with (root / "atlas" / "publish.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "headatlas", "publish", "--warehouse", str(root)]
        running = warm.Program(command, stderr=subprocess.DEVNULL)
        while not read_runs(Warehouse(root)):
            time.sleep(0.05)
            assert running.poll() is None
        time.sleep(0.3)
        assert [r.outcome for r in read_runs(Warehouse(root))] == ["unfinished"]
        os.kill(running.pid, number)
        running.wait(30)
    assert [r.outcome for r in read_runs(Warehouse(root))] == [outcome]
    assert headatlas("publish", "--warehouse", root) == 0
    shown = query(Warehouse(root), "SELECT outcome FROM runs ORDER BY started_at").to_pylist()
    assert [r["outcome"] for r in shown] == [outcome, "done"]


def test_runs_are_printed_newest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warehouse = Warehouse(tmp_path)
    for day in (1, 3, 2):
        write_run(warehouse, record(started_at=f"2026-01-0{day}T00:00:00+00:00", run=f"r{day}"))
    (warehouse.runs / "2026-broken.json").write_text("{")
    assert headatlas("runs", "--last", 2, "--warehouse", tmp_path) == 0
    assert re.findall(r"2026-01-0\d", capsys.readouterr().out) == ["2026-01-03", "2026-01-02"]


def test_old_records_are_deleted_and_the_newest_kept(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    days = [record(started_at=f"2026-01-{day:02}T00:00:00+00:00") for day in range(1, 8)]
    for one in days:
        write_run(warehouse, one)
    assert prune_runs(warehouse, 3) == 4
    assert read_runs(warehouse) == days[:3:-1]
    assert sorted(warehouse.runs.iterdir()) == [run_path(warehouse, one) for one in days[4:]]
    # the run of gc itself is kept too
    assert headatlas("gc", "--keep-runs", 1, "--warehouse", tmp_path) == 0
    assert [r.command for r in read_runs(warehouse)] == ["gc"]


def at(minute: int, **values: object) -> RunRecord:
    """Return a record of a run that ended, unless told otherwise, started so many minutes ago."""
    started = datetime.now(UTC) - timedelta(minutes=minute)
    given = {
        "started_at": started.isoformat(),
        "ended_at": started.isoformat(),
        "run": f"r{minute}",
    }
    return record(**{**given, "outcome": "done", **values})


def test_records_of_a_year_are_few_files_and_none_is_lost(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    runs = [at(minute) for minute in range(5 * FRESH, 0, -1)]
    for one in runs:
        write_run(warehouse, one)
        assert prune_runs(warehouse, keep=10 * FRESH) == 0
        assert len(list(warehouse.runs.iterdir())) <= 2 * FRESH + 1
    assert read_runs(warehouse) == runs[::-1]
    assert read_runs(warehouse, last=3) == runs[:-4:-1]
    # killed when they were gathered and not yet deleted: they are there twice, and read once
    for one in runs[: 2 * FRESH]:
        write_run(warehouse, one)
    assert read_runs(warehouse) == runs[::-1]
    assert prune_runs(warehouse, keep=2 * FRESH) == 3 * FRESH
    assert read_runs(warehouse) == runs[: 3 * FRESH - 1 : -1]


def test_a_run_that_goes_on_stays_a_file_and_one_that_was_killed_does_not(tmp_path: Path) -> None:
    warehouse, days = Warehouse(tmp_path), 24 * 60
    going = at(days, ended_at=None, outcome="unfinished")
    killed = at(8 * days, ended_at=None, outcome="unfinished")
    later = [at(minute) for minute in range(2 * FRESH, 0, -1)]
    for one in (killed, going, *later):
        write_run(warehouse, one)
    assert prune_runs(warehouse) == 0
    assert run_path(warehouse, going).exists() and not run_path(warehouse, killed).exists()
    # it ends after it was looked at: what it says then is what counts
    ended = going.model_copy(update={"ended_at": going.started_at, "outcome": "done"})
    write_run(warehouse, ended)
    assert read_runs(warehouse) == [*later[::-1], ended, killed]


def test_gathering_waits_for_nobody_and_a_damaged_line_costs_itself(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    runs = [at(minute) for minute in range(3 * FRESH, 0, -1)]
    for one in runs:
        write_run(warehouse, one)
    handle = os.open(warehouse.runs, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert prune_runs(warehouse, 1) == 0
    os.close(handle)
    assert prune_runs(warehouse) == 0
    lines = (warehouse.runs / OLDER).read_bytes().splitlines()
    lines[0] = b"\xff{"
    (warehouse.runs / OLDER).write_bytes(b"\n".join(lines))
    assert len(read_runs(warehouse)) == len(runs) - 1


def test_the_digest_of_a_refresh_is_of_its_plan(tmp_path: Path) -> None:
    plan = tmp_path / "night.yaml"
    for colour in ("red", "blue", "red"):
        plan.write_text(yaml.safe_dump({"warehouse": str(tmp_path), "scan": {"colour": colour}}))
        assert headatlas("refresh", plan) == 2
    found = [r.configuration for r in read_runs(Warehouse(tmp_path))]
    assert found[0] == found[2] != found[1]
