"""`headatlas sql`: the question, its parameters, the formats, and what may not be asked."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import cli, console
from tests import warm
from tests.synthetic import Shape, write_basis, write_scan, write_texts
from warehouse.database.publish import publish
from warehouse.files.layout import Warehouse

TEXTS = "SELECT rank, text FROM head_texts($head) ORDER BY rank LIMIT $most"
ANSWER = [(0, "text 1"), (1, "text 2")]
GIVEN = ("--param", "head=l2h1", "--param", "most=2")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sql") / "w"
    write_basis(write_scan(root, pictures=20, shape=Shape(layers=(2,))), write_texts(root))
    publish(Warehouse(root))
    return root


def sql(root: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["sql", *arguments, "--warehouse", str(root)])
    return int(stopped.value.code or 0)


def test_where_nobody_watches_the_answer_is_csv(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sql(root, TEXTS, *GIVEN) == 0
    assert capsys.readouterr().out == "rank,text\n0,text 1\n1,text 2\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tsv", "rank\ttext\n0\ttext 1\n1\ttext 2\n"),
        ("markdown", "| rank | text |\n|---|---|\n| 0 | text 1 |\n| 1 | text 2 |\n"),
        ("line", "rank = 0\ntext = text 1\n\nrank = 1\ntext = text 2\n"),
        ("json", '[{"rank": 0, "text": "text 1"},\n{"rank": 1, "text": "text 2"}]\n'),
    ],
)
def test_formats(root: Path, capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    assert sql(root, TEXTS, *GIVEN, "--format", name) == 0
    assert capsys.readouterr().out == said


def test_sql_from_a_file_and_parameters_that_are_json(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "question.sql"
    text = (
        "-- a question\nSET VARIABLE n = $n;\n"
        "SELECT getvariable('n') + 1 AS n, $list AS list, $t AS t;"
    )
    file.write_text("\ufeff" + text)
    given = ["--param", "n=41", "--param", 'list=["a", null]', "--param", "t=007"]
    for asked in ((f"@{file}",), ("--file", str(file)), ("--file", "-")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert sql(root, *asked, *given, "--format", "json") == 0
        assert json.loads(capsys.readouterr().out) == [{"n": 42, "list": ["a", None], "t": "007"}]


def test_on_a_terminal_it_is_drawn_and_lines_where_too_wide(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.out, "_force_terminal", True)
    monkeypatch.setattr(console.out, "_width", 70)
    assert sql(root, TEXTS, *GIVEN) == 0
    assert "│ text 1" in capsys.readouterr().out
    assert sql(root, "FROM heads LIMIT 1") == 0
    assert " name = L2H0" in capsys.readouterr().out
    assert sql(root, "FROM heads LIMIT 1", "--format", "table") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    assert sql(root, "FROM heads", "--format", "parquet") == 2
    assert "--output" in capsys.readouterr().err


def test_parquet_may_be_piped_and_files_are_written(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "sql", TEXTS, *GIVEN]
    done = warm.run([*command, "--format", "parquet", "--warehouse", root], check=True)
    assert [tuple(r.values()) for r in pq.read_table(io.BytesIO(done.stdout)).to_pylist()] == ANSWER
    for suffix in (".parquet", ".csv", ".tsv", ".json", ".md", ".arrow"):
        assert sql(root, TEXTS, *GIVEN, "-o", str(tmp_path / f"a{suffix}")) == 0
    assert [tuple(r.values()) for r in pq.read_table(tmp_path / "a.parquet").to_pylist()] == ANSWER
    assert json.loads((tmp_path / "a.json").read_text())[1] == {"rank": 1, "text": "text 2"}


def test_whoever_has_read_enough_may_go(root: Path) -> None:
    program = [sys.executable, "-c", "from jobs.cli import main; main()"]
    asked = "SELECT range, repeat('x', 1000) AS x FROM range(100000)"
    with warm.Program(
        [*program, "sql", asked, "--warehouse", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "range,x\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("COPY (SELECT 1) TO '{to}'",), "COPY may not be run here"),
        (("WITH z AS (COPY (SELECT 1) TO '{to}') FROM z",), "COPY may not be run here"),
        (("FROM read_text('{outside}')",), "only the warehouse can be read here"),
        ((), "expected one of: SQL, @FILE, or --file FILE"),
        (("SELECT 1", "--file", "x.sql"), "expected one of"),
        (("@nowhere.sql",), "nowhere.sql cannot be read: No such file"),
        (("SELECT $a",), "names $a, which is not given"),
        (("SELECT 1", "--param", "a=1"), "names no parameter $a"),
        (("SELECT 1", "--param", "a"), "expected NAME=VALUE"),
        (("SELECT 1", "--format", "xml"), "table"),
        (("",), "no statement"),
        (("SELECT 1", "-o", "x.xlsx"), ".parquet, .csv"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("not yours")
    to = root / "atlas.csv"
    assert sql(root, *(a.format(to=to, outside=outside) for a in arguments)) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1
    assert said.out == ""
    assert not to.exists()


def test_unrestricted_lets_anything_run(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside, to = tmp_path / "outside.txt", tmp_path / "copy.csv"
    outside.write_text("mine")
    read = ("SELECT content FROM read_text($path)", "--param", f"path={outside}")
    assert sql(root, *read, "--unrestricted") == 0
    assert capsys.readouterr().out == "content\nmine\n"
    assert sql(root, f"COPY (SELECT 1 AS a) TO '{to}'", "--unrestricted") == 0
    assert to.read_text() == "a\n1\n"
    assert sql(root, "DELETE FROM scans", "--unrestricted") == 2
    assert "read-only" in capsys.readouterr().err
