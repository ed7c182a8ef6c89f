"""What messages tell a person to run can be run: commands have the options that are named."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.command import Command, commands
from jobs.steps.models import load_for, load_recorded
from schemas.errors import StoreError, UsageError
from tests.synthetic import write_scan

HOME = Path(__file__).parents[2]
COMMANDS = {command.name: command for command in commands()}
CALL = re.compile(r"headatlas ([a-z-]+)(?: ([a-z-]+))?([^;,]*)")


def said(path: Path) -> Iterator[str]:
    """Give every text of a module, what is filled in left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            yield "".join(map(str, parts))


def calls(text: str) -> Iterator[tuple[Command, list[str]]]:
    """Give the commands that a text names, with the options that it gives each."""
    for one, two, rest in CALL.findall(text):
        command = COMMANDS.get(f"{one} {two}") or COMMANDS.get(one)
        if command is not None:
            yield command, re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", rest)


def test_a_command_that_a_message_names_has_the_options_that_are_given_it() -> None:
    found = 0
    for package in ("jobs", "pipeline", "schemas", "warehouse"):
        for path in (HOME / package).rglob("*.py"):
            if "headatlas " not in path.read_text(encoding="utf-8"):
                continue
            for text in said(path):
                for command, given in calls(text):
                    known = {*command.model.model_fields, *command.flags, "config", "help"}
                    assert {name.replace("-", "_") for name in given} <= known, (path, text)
                    found += len(given)
    assert found > 20


def test_a_model_that_is_gone_is_asked_for_as_the_command_can(tmp_path: Path) -> None:
    scan = write_scan(tmp_path)
    moved = scan.load_record().model_copy(
        update={"model_path": "/gone/clip.json", "pretrained_path": "/gone/clip.safetensors"}
    )
    with pytest.raises(UsageError, match=r"/gone/clip\.json.*with --model and --pretrained"):
        load_for(moved)
    with pytest.raises(UsageError, match="cannot be loaded: no model config /gone") as error:
        load_recorded(moved)
    assert "with weights /gone/clip.safetensors: have these there again" in str(error.value)
    assert "--" not in str(error.value)


def test_another_model_in_its_place_is_said_so(tmp_path: Path, tiny_config: Path) -> None:
    record = write_scan(tmp_path).load_record()
    other = record.model_copy(update={"model_path": str(tiny_config), "pretrained_path": "none"})
    with pytest.raises(StoreError, match=f"scan {record.scan_id} was made with"):
        load_recorded(other)
