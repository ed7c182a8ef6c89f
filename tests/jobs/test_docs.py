"""Invariant 7: what the docs name exists, and the other way round."""

import re
from pathlib import Path

import pytest

from docs.generate import pages
from jobs.command import commands
from pipeline.maps.registry import DECLARED
from schemas.macros import MACROS
from schemas.tables import TABLES

ALL = commands()
ROOT = Path(__file__).parents[2]
PROSE = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def test_generated_pages_are_up_to_date() -> None:
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run make docs"


@pytest.mark.parametrize("path", PROSE, ids=lambda p: p.name)
def test_every_command_and_option_in_prose_exists(path: Path) -> None:
    names = {c.name for c in ALL}
    options = {f"--{n.replace('_', '-')}" for c in ALL for n in c.model.model_fields}
    options |= {f"--{n.replace('_', '-')}" for c in ALL for n in c.flags}
    options |= {"--config", "--debug", "--help", "--version"}
    groups = {name.split()[0] for name in names}
    text = path.read_text(encoding="utf-8")
    said = r"^\s*headatlas ([a-z][a-z-]*(?: [a-z]+)?)|`headatlas ([a-z][a-z-]*)"
    for found in re.findall(said, text, re.M):
        name = found[0] or found[1]
        # a page that shows how to add a command names the one that it adds
        files = re.findall(r"`jobs/commands/(\w+)\.py`", text)
        taught = {file.replace("_", "-") for file in files}
        assert name.split()[0] in groups | {"demo"} | taught, name
    lines = [line.partition("headatlas")[2] for line in text.splitlines()]
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", " ".join(lines)):
        assert option in options, option


def test_every_method_of_maps_is_described() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z-]+)`", text.partition("| method | map |")[2]))
    assert {*DECLARED} <= named


def test_links_between_pages_lead_somewhere() -> None:
    for path in PROSE:
        for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_table_and_macro_is_documented_with_an_example() -> None:
    text = (ROOT / "docs" / "warehouse.md").read_text(encoding="utf-8")
    for name in (*(t.name for t in TABLES), *(m.name for m in MACROS)):
        assert f"\n## {name}\n" in text
    assert all(thing.example for thing in (*TABLES, *MACROS))


def test_every_make_target_in_prose_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for path in PROSE:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M):
            assert target in targets, f"{path.name}: make {target}"
