"""The program as a person meets it: help, exit codes, one-line errors, options from YAML."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import cli
from jobs.command import commands
from tests import warm

ALL = commands()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from jobs.cli import main; main()", *arguments]
    return warm.run(command, text=True)


def call(*arguments: str) -> int:
    """Run in this process; return the exit code."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("command", [c.name for c in ALL])
def test_every_command_has_help_for_every_option(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert call(*command.split(), "-h") == 0
    said = capsys.readouterr().out
    (found,) = [c for c in ALL if c.name == command]
    for name, field in found.model.model_fields.items():
        assert field.description, name
        shown = name.upper() if name in found.arguments else f"--{name.replace('_', '-')}"
        assert shown in said or name in found.arguments


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("scan",), 2, "SOURCE is missing"),
        (("scan", "x", "--model", "y", "--warehouse", "w"), 2, "--pretrained is missing"),
        (("scan", "x", "--model", "y", "--pretrained", "none"), 2, "--warehouse is missing"),
        (("scan", "x", "--nope"), 2, "--nope"),
        (
            (
                "scan",
                "x",
                "--model",
                "y",
                "--pretrained",
                "none",
                "--warehouse",
                "w",
                "--shard-size",
                "0",
            ),
            2,
            "shard_size",
        ),
        (("nonsense",), 2, "nonsense"),
        (("textspan", "--pool", "p", "--warehouse", "nowhere"), 2, "nowhere is not there"),
        (("scan", "x", "--config", "missing.yaml"), 2, "missing.yaml"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_two(
    arguments: tuple[str, ...],
    code: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HEADATLAS_WAREHOUSE", raising=False)
    assert call(*arguments) == code
    said = capsys.readouterr().err.strip()
    assert "Traceback" not in said
    assert said.count("\n") == 0
    line = json.loads(said)
    assert words in line["text"]
    assert (line["event"], line["level"], line["exit_code"]) == ("error", "error", code)


def test_options_come_from_the_line_then_the_file_then_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a red thing\na Red thing.\n\na blue thing\n")
    monkeypatch.setenv("HEADATLAS_WAREHOUSE", str(tmp_path / "env"))
    assert call("pool", "import", str(texts)) == 0
    assert (tmp_path / "env" / "pools" / "texts" / "pool.parquet").is_file()
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps({"warehouse": str(tmp_path / "file"), "name": "mine"}))
    assert call("pool", "import", str(texts), "--config", str(config)) == 0
    assert (tmp_path / "file" / "pools" / "mine" / "pool.parquet").is_file()
    assert call("pool", "import", str(texts), "--config", str(config), "--name", "other") == 0
    assert (tmp_path / "file" / "pools" / "other" / "pool.parquet").is_file()
    assert "1 empty and 1 repeated" in capsys.readouterr().err


def test_a_yaml_option_that_does_not_exist_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("warehouse: w\nshard: 3\n")
    assert call("scan", "x", "--model", "m", "--pretrained", "none", "--config", str(config)) == 2
    assert "shard" in capsys.readouterr().err


def test_the_program_starts_and_says_what_it_is() -> None:
    done = run("-h")
    assert done.returncode == 0
    assert "scan" in done.stdout
    done = run("scan", "nowhere", "--model", "ViT-B-99", "--pretrained", "none", "--warehouse", "w")
    assert done.returncode == 2
    assert "ViT-B-99" in done.stderr
    assert "Traceback" not in done.stderr


def test_of_all_commands_only_the_one_that_is_asked_for_is_built() -> None:
    assert [c.name for c in cli.program(["sql", "FROM heads"]).registered_commands] == ["sql"]
    (pool,) = cli.program(["pool", "list"]).registered_groups
    assert pool.typer_instance is not None
    assert [c.name for c in pool.typer_instance.registered_commands] == ["list"]
    alone = [c.name for c in ALL if " " not in c.name]
    assert sorted(str(c.name) for c in cli.program(["-h"]).registered_commands) == alone
