"""A night tells how it ended, to a file, a command or a URL: however it ended."""

import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs import cli
from jobs.commands import refresh
from jobs.commands.refresh import RefreshConfig
from jobs.steps import on_finish
from jobs.steps.night_summary import Standing, summary, worker_rate
from schemas.errors import UsageError
from schemas.night import NightSummary
from schemas.runs import RunRecord
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.store.runs import read_runs, write_run


def headatlas(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return code


class Server:
    """A real HTTP server that remembers what it was sent, and answers with the codes given."""

    def __init__(self, *codes: int) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        answers, taken = list(codes), self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append((dict(self.headers), body))
                self.send_response(answers.pop(0) if answers else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    yield served
    served.close()


@pytest.fixture
def plan(world: Path, tiny_config: Path, tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "pictures"
    for kind in ("bird", "car"):
        (folder / kind).mkdir(parents=True)
    for i, path in enumerate(sorted((world.parent / "images").glob("*.png"))[:8]):
        shutil.copy(path, folder / ("bird", "car")[i % 2])
    return {
        "warehouse": str(tmp_path / "w"),
        "scan": {
            "source": str(folder),
            "model": str(tiny_config),
            "pretrained": "none",
            "scan": "nightly",
            "labels": "folder",
            "max_rejects": 0,
            "workers": 0,
        },
        "zeroshot": [{"classes": "labels", "templates": "none"}],
        "summary": str(tmp_path / "night.json"),
    }


def night(tmp_path: Path, plan: dict[str, Any]) -> tuple[int, NightSummary]:
    """Run a night by the program; return its exit code and its summary."""
    path = tmp_path / "night.yaml"
    path.write_text(yaml.safe_dump(plan))
    code = headatlas("refresh", path)
    return code, NightSummary.model_validate_json((tmp_path / "night.json").read_text())


def test_nights_are_told_to_a_file_and_a_url(
    plan: dict[str, Any], tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    plan["on_finish"] = f"http://me:secret@{server.address}/hook?token=secret"
    code, first = night(tmp_path, plan)
    assert (code, first.outcome, first.scanned) == (0, "done", 8)
    assert list(first.made) == ["classifiers/labels"] and first.published == 1
    assert first.accuracy["zero_shot"].before is None
    assert first.accuracy["classifiers/labels"].after is not None
    assert first.throughput and first.throughput.nights == 0
    headers, body = server.taken[0]
    assert NightSummary.model_validate_json(body) == first
    assert headers["Authorization"].startswith("Basic ")
    assert headers["Content-Type"] == "application/json"

    shutil.copy(tmp_path / "pictures/bird" / "000000.png", tmp_path / "pictures/car/new.png")
    (tmp_path / "pictures/car/broken.png").write_bytes(b"nothing")
    plan["drift"] = 0
    code, second = night(tmp_path, plan)
    assert first.drift == [] and "head_drift/head_drift" in second.made
    asked = "SELECT name, drift, mean_shift, since FROM drift(k := 9) ORDER BY rank"
    moved = query(Warehouse(tmp_path / "w"), asked).to_pylist()
    assert [(h.head, h.drift, h.mean_shift, 1) for h in second.drift] == [
        tuple(row.values()) for row in moved
    ]
    assert len(moved) == 9 and moved[0]["drift"] > 0
    assert (code, second.outcome, second.exit_code) == (3, "rejects", 3)
    assert second.rejects and (second.rejects.total, second.rejects.new) == (1, 1)
    assert sum(second.rejects.reasons.values()) == 1
    assert second.images == 9 and second.published == 2
    after = first.accuracy["classifiers/labels"].after
    assert second.accuracy["classifiers/labels"].before == after
    told, ran = second.throughput, read_runs(Warehouse(tmp_path / "w"))
    assert told and told.rate and told.nights == 1
    assert told.median == pytest.approx(worker_rate(ran[1]))
    assert told.ratio == pytest.approx(told.rate / worker_rate(ran[1]))
    assert (second.run, second.message) == (ran[0].run, ran[0].message)
    said = capsys.readouterr()
    stored = [p.read_bytes() for p in (tmp_path / "w/runs").iterdir()]
    assert "secret" not in said.err + said.out and all(b"secret" not in s for s in stored)


def test_a_failed_night_is_told_to_a_command(plan: dict[str, Any], tmp_path: Path) -> None:
    taken = tmp_path / "taken.json"
    program = f"import sys, pathlib; pathlib.Path({str(taken)!r}).write_text(sys.stdin.read())"
    plan["on_finish"] = [sys.executable, "-c", program]
    plan["scan"]["source"] = str(tmp_path / "nowhere")
    code, told = night(tmp_path, plan)
    assert code == told.exit_code != 0 and told.message and "nowhere" in told.message
    assert NightSummary.model_validate_json(taken.read_text()) == told
    # also a plan that is wrong elsewhere
    plan["scan"]["colour"] = "red"
    code, told = night(tmp_path, plan)
    assert (code, told.outcome) == (2, "refused") and "colour" in str(told.message)
    assert NightSummary.model_validate_json(taken.read_text()) == told


def test_what_goes_wrong_in_telling_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_finish, "PAUSE", 0.01)
    record = RunRecord(
        run="r",
        command="refresh",
        started_at="2026-01-01T00:00:00+00:00",
        configuration="",
        versions={},
        machine="m",
    )
    told = summary(None, record, Standing(), None)
    on_finish.tell(told, tmp_path / "night.json", ("/nowhere/alarm",))
    on_finish.tell(told, None, (sys.executable, "-c", "import sys; sys.exit('too loud')"))
    said = capsys.readouterr().err
    assert "/nowhere/alarm" in said and "too loud" in said
    served = Server(500, 200, 500, 503)
    try:
        url = f"http://{served.address}/"
        assert on_finish.post(url, "{}") and len(served.taken) == 2
        assert not on_finish.post(url, "{}") and len(served.taken) == 4
    finally:
        served.close()
    assert "503" in capsys.readouterr().err


def test_throughput_is_beside_the_median_of_earlier_nights_of_the_same_scan(tmp_path: Path) -> None:
    def ran(day: int, scan: str, scanned: int, wall: float) -> RunRecord:
        return RunRecord(
            run=f"r{day}{scan}",
            command="refresh",
            scan_id=scan,
            started_at=f"2026-01-{day:02}T00:00:00+00:00",
            configuration="",
            versions={},
            machine="m",
            scanned=scanned,
            stages={"wall": wall},
        )

    for one in (ran(1, "s", 100, 1), ran(2, "s", 300, 1), ran(3, "s", 0, 0), ran(4, "s", 200, 1)):
        write_run(Warehouse(tmp_path), one)
    write_run(Warehouse(tmp_path), ran(5, "other", 1, 1))
    told = summary(tmp_path, ran(6, "s", 100, 1), Standing(), None).throughput
    assert told is not None
    assert told.model_dump() == {"rate": 100, "median": 200, "ratio": 0.5, "nights": 3}


def test_on_finish_is_a_command_or_a_url(plan: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text(yaml.safe_dump({**plan, "on_finish": "mail me"}))
    with pytest.raises(UsageError, match=r"on_finish: .* URL"):
        refresh.run(RefreshConfig(plan=path))
