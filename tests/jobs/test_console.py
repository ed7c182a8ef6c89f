"""What is said: bars that fit, JSON lines that can be read, nothing that moves a cursor."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from jobs import cli, console
from jobs.command import Command, commands, groups
from jobs.commands.pool.list import PoolListConfig
from jobs.commands.scan import ScanConfig
from jobs.explore.page import Panel
from jobs.steps.early import weights_given
from schemas.errors import UsageError

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "headatlas")


def drawn(width: int) -> str:
    """Return a progress bar as a terminal of so many columns shows it, half-way."""
    screen = io.StringIO()
    terminal = Console(file=screen, width=width, force_terminal=True, color_system=None)
    shown: Progress = console.bar(width, "pictures")
    shown.live.console = terminal
    task = shown.add_task("Scanning a-data-set-with-a-long-name--ViT-B-16", total=123_456)
    time.sleep(0.02)
    shown.update(task, completed=61_728)
    time.sleep(0.02)
    shown.update(task, completed=61_800)
    terminal.print(shown.get_renderable())
    return screen.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_bar_keeps_bar_count_rate_and_time(width: int) -> None:
    (line,) = drawn(width).strip().splitlines()
    assert len(line) <= width
    assert "━━" in line and "61800/123456" in line and re.search(r"\d/s", line)
    assert re.search(r"\d+:\d\d", line)


@given(st.text())
def test_shown_text_moves_no_cursor_and_says_what_it_was(text: str) -> None:
    shown = console.escaped(text)
    assert all(c.isprintable() or c == "\u200d" for c in shown)
    if text.isprintable():
        assert shown == text


@given(st.text(alphabet=st.characters(codec=None)))
def test_a_json_line_is_one_line_whatever_the_text(text: str) -> None:
    kept, sys.stderr = sys.stderr, io.StringIO()
    try:
        console.event("note", text=text)
        line = sys.stderr.getvalue()
    finally:
        sys.stderr = kept
    line.encode("utf-8")
    assert line.count("\n") == 1
    said = json.loads(line)
    assert datetime.fromisoformat(said["time"]).tzinfo is not None
    assert (said["level"], said["run"], said["event"]) == ("info", console.RUN, "note")


def test_tables_and_titles_are_never_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, width=100, force_terminal=True, markup=False, emoji=False)
    monkeypatch.setattr(console, "out", terminal)
    odd = "[bold]a[/bold]:smile:\x1b[31m"
    console.table(odd, (odd,), [(odd,)])
    text = re.sub(r"\x1b\[[\d;]*m", "", screen.getvalue())
    assert text.count(r"[bold]a[/bold]:smile:\x1b[31m") == 3


def test_what_is_said_names_only_commands_that_exist() -> None:
    known = {c.name for c in commands()}
    packages = ("jobs", "warehouse", "pipeline", "schemas", "demo", "headatlas")
    for path in (path for name in packages for path in ROOT.glob(f"{name}/**/*.py")):
        if path.parent.name == "pages":
            continue  # a page's panel leaves out what does not exist: below
        text = path.read_text(encoding="utf-8")
        for word, second in re.findall(
            r"(?<!import )\bheadatlas ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", text
        ):
            name = f"{word} {second}" if word in groups() else word
            assert name in known, f"{path.name}: headatlas {name}"


def test_a_panel_names_no_command_that_does_not_exist() -> None:
    for line, named in (
        ("headatlas roles build --basis B", True),
        ("headatlas scan …", True),
        ("headatlas roles bild", False),
        ("headatlas nosuch A B", False),
    ):
        assert (Panel("k", "t", "table", command=line).command is not None) == named


def test_groups_say_what_they_are() -> None:
    assert groups() == {"pool": groups()["pool"], "roles": groups()["roles"]}
    assert all(text and "roless" not in text for text in groups().values())


def program(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*PROGRAM, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_version() -> None:
    done = program("--version")
    assert done.returncode == 0 and re.fullmatch(r"headatlas \d+\.\d+\.\d+\S*\n", done.stdout)


SCAN = ("scan", "x", "--model", "ViT-B-16", "--pretrained", "none", "--warehouse", ".")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("scam",), "Did you mean 'scan'?"),
        (("pool", "impotr"), "Did you mean 'import'?; see headatlas pool -h"),
        (("scan", "x", "--lable", "y"), "--labels"),
        ((*SCAN, "--precision", "bf61"), "(got 'bf61'); did you mean bf16?"),
        ((*SCAN, "--store", "mpl"), "did you mean mlp?"),
        (("sql", "SELECT 1", "--format", "tabel", "--warehouse", "."), "did you mean table?"),
        ((), None),
    ],
)
def test_typos_are_answered_by_the_nearest_name(
    arguments: tuple[str, ...], words: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    assert stopped.value.code == 2
    said = capsys.readouterr()
    if words is None:
        assert said.err == "" and "scan" in said.out
    else:
        assert words in json.loads(said.err.splitlines()[-1])["text"]


HASTY = [
    (("scan", "nowhere", "--model", "ViT-B-16"), "nowhere"),
    (("scan", "{listing}", "--model", "ViT-B-16", "--labels", "kidn"), "did you mean kind?"),
    (
        ("scan", "{listing}", "--model", "ViT-B-16", "--pretrained", "laion2b_s34b_b88"),
        "did you mean laion2b_s34b_b88k?",
    ),
    (("scan", "{listing}", "--model", "ViT-B-16", "--layers", "3-99"), "layers 0 to 11"),
    (("scan", "{listing}", "--model", "ViT-B-61"), "did you mean ViT-B-16"),
    (("map", "{picture}", "x", "--model", "ViT-B-16", "--method", "lgrad"), "did you mean legrad?"),
    (("segment", "{folder}", "--model", "ViT-B-16", "--methods", "gem,lgrad"), "mean legrad?"),
]


@pytest.mark.parametrize(("arguments", "words"), HASTY)
def test_what_needs_no_model_is_refused_before_any_is_imported(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    listing = tmp_path / "list.csv"
    listing.write_text("path,kind\na.png,cat\n")
    picture = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(picture)
    files = {"listing": listing, "picture": picture, "folder": tmp_path}
    given = [a.format(**files) for a in arguments]
    given += [] if "map" in given else ["--warehouse", str(tmp_path / "w")]
    given += [] if "--pretrained" in given else ["--pretrained", "none"]
    code = (
        "import sys\nfrom jobs.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as done:\n"
        "    print([m for m in ('torch', 'open_clip', 'ray') if m in sys.modules], done.code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *given],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split()[0] == "[]" and done.stdout.split()[1] in ("1", "2")
    assert words in json.loads(done.stderr.splitlines()[-1])["text"]
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.name)
def test_a_slip_in_the_warehouse_is_no_empty_answer(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what may begin a warehouse does; `verify` of a folder that is not there fails."""
    (tmp_path / "atlas" / "scans").mkdir(parents=True)
    (tmp_path / "pictures").mkdir()
    fields = command.model.model_fields
    if "warehouse" not in fields or getattr(command.module, "BEGINS", False):
        return
    several = {"pools": ("x",), "texts": ("x",)}
    required = [name for name, field in fields.items() if field.is_required()]
    given = {name: several.get(name, "x") for name in required if name != "warehouse"}
    for folder, words in (
        ("atlsa", "is not there; did you mean"),
        ("pictures", "holds no warehouse"),
    ):
        config = command.model.checked({**given, "warehouse": tmp_path / folder})
        with pytest.raises(UsageError, match=words):
            command.carry_out(config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["atlas", "pictures"]
    command.require_warehouse(command.model.checked({**given, "warehouse": tmp_path / "atlas"}))
    assert capsys.readouterr().out == ""


def test_a_bucket_is_no_folder_and_home_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for config in (PoolListConfig, ScanConfig):
        values = {"source": "x", "model": "m", "pretrained": "none"} if config is ScanConfig else {}
        for url in ("s3://bucket/atlas", Path("s3://bucket/atlas"), "gs://b"):
            with pytest.raises(UsageError, match=r"got a URL, expected a folder"):
                config.checked({**values, "warehouse": url})
        found = config.checked({**values, "warehouse": "~/atlas"})
        assert found.warehouse == tmp_path / "home" / "atlas"  # type: ignore[attr-defined]
    for path, words in (
        ("", "warehouse is empty"),
        ("~nobody-of-that-name/atlas", "no user 'nobody-of-that-name'"),
        ("file:///mnt/atlas", "write the path alone"),
    ):
        with pytest.raises(UsageError, match=words):
            PoolListConfig.checked({"warehouse": path})
    with pytest.raises(SystemExit):
        cli.main(["pool", "list", "--warehouse", "s3://bucket/atlas"])
    assert "s3://bucket/atlas" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("before", "sent"),
    [
        ("SIG_DFL", [signal.SIGTERM]),
        ("SIG_DFL", [signal.SIGHUP]),
        # as nohup has it: a terminal that closes ends nothing
        ("SIG_IGN", [signal.SIGHUP, signal.SIGTERM]),
    ],
)
def test_a_signal_ends_a_run_with_a_word(
    before: str, sent: list[signal.Signals], tmp_path: Path
) -> None:
    code = (
        f"import signal, time\nsignal.signal(signal.SIGHUP, signal.{before})\n"
        "from jobs import cli\nfrom jobs.commands import info\n"
        "def wait(config):\n    print('on', flush=True)\n    time.sleep(60)\n"
        "wait.__annotations__['config'] = info.InfoConfig\ninfo.run = wait\ncli.main(['info'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None and process.stdout.readline() == "on\n"
            for number in sent:
                assert process.poll() is None
                process.send_signal(number)
                time.sleep(0.3 if number is not sent[-1] else 0)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == cli.INTERRUPTED
    assert "run the same command again" in json.loads(said)["text"]


def test_random_weights_are_said_loudly_and_never_taken_unasked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert weights_given("ViT-B-16", "none") == "none"
    said = json.loads(capsys.readouterr().err)
    assert said["event"] == "warning" and "random weights" in said["text"]
    assert weights_given("ViT-B-16", "openai") == "openai"
    assert capsys.readouterr().err == ""
    with pytest.raises(UsageError, match="--pretrained is missing"):
        weights_given("ViT-B-16", None)
    with pytest.raises(UsageError, match="pretrained"):
        ScanConfig.checked({"source": "x", "model": "m", "warehouse": "w"})
