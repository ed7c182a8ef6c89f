"""A command is one file of `jobs/commands/`: CONTRIBUTING.md's own, by the program and by name."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.seams.house import ROOT, House, build


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Return the copy with the file that CONTRIBUTING.md shows."""
    found = build(tmp_path_factory.mktemp("house"))
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    said = re.search(r"`jobs/commands/count\.py`.*?```python\n(.*?)```", page, re.S)
    assert said is not None
    found.add("jobs/commands/count.py", said[1])
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt", "c.csv"):
        (tmp_path / name).write_text("x")
    return tmp_path


def test_the_program_runs_it_and_helps(house: House, folder: Path) -> None:
    assert re.search(r"count\s+Count the files of a folder\.", house.run("-h").stdout)
    said = house.run("count", "-h").stdout
    assert "--suffix" in said and "Only names that end so" in said and "[required]" in said
    done = house.run("count", folder)
    assert (done.returncode, done.stdout.split("\n")[1]) == (0, f"{folder}\t3")
    config = folder / "options.yaml"
    config.write_text("suffix: .txt\n")
    done = house.run("count", folder, "--config", config)
    assert done.stdout.split("\n")[1] == f"{folder}\t2"


def test_its_errors_are_one_line_with_the_nearest_name(house: House, folder: Path) -> None:
    for arguments, words in (
        (("count",), "FOLDER is missing"),
        (("count", folder / "nowhere"), "nowhere"),
        (("coumt", folder), "'count'"),
        (("count", folder, "--sufix", "x"), "--suffix"),
    ):
        done = house.run(*arguments)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 2 and words in json.loads(line)["text"]


def test_it_is_a_function_too(house: House, folder: Path) -> None:
    code = (
        "import headatlas as ha, sys; done = ha.count(sys.argv[1], suffix='.txt');"
        "print(done.files, 'count' in dir(ha), 'suffix' in ha.count.__doc__)"
    )
    done = warm.run([sys.executable, "-c", code, folder], cwd=house.root, text=True, check=True)
    assert done.stdout.split() == ["2", "True", "True"]
