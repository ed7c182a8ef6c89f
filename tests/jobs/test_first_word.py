"""What is said before anything slow is imported: a terminal is not silent for seconds."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from jobs.command import commands
from jobs.commands import zeroshot
from jobs.commands.zeroshot import ZeroShotConfig

ROOT = Path(__file__).parents[2]
# Runs each command in one process, up to where it first asks for torch or Ray.
UP_TO_TORCH = """
import io, json, sys
from importlib.abc import MetaPathFinder

class Asked(BaseException):
    pass

class Gate(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "ray"):
            raise Asked(name)

sys.meta_path.insert(0, Gate())
from jobs.cli import main

for arguments in json.loads(sys.argv[1]):
    kept, sys.stderr = sys.stderr, io.StringIO()
    try:
        main(arguments)
    except (Asked, SystemExit) as end:
        said, sys.stderr = sys.stderr.getvalue(), kept
        print(json.dumps([str(end), said.splitlines()]))
"""
OF_A_MODEL = {
    "ablate": "--total --classifier c --heads L1H1",
    "concepts": "--pool small --template {{}}!",
    "edges": "",
    "effects": "--classifier c",
    "info": "",
    "map": "{picture} cat",
    "map-statistics": "{masks} --text cat",
    "models": "",
    "module-cosines": "--classifier c",
    "nearest": "--text cat --head L1H1",
    "pairs": "label",
    "pool compare": "small --out {folder}/c.png",
    "refresh": "{plan}",
    "scan": "{folder}/pictures --model {model} --pretrained none --scan t",
    "segment": "{masks} --output {folder}/s",
    "spurious": "--classifier k --classes 0=cat,1=dog --attribute place",
    "texts": "small",
    "textspan": "--pool small --template {{}}!",
    "zeroshot": "labels --classifier k",
}
"""Of each command that loads a model, options with which it gets so far."""
# draws its pictures first; asks a language model first; loads one when a page asks for it
LATER = {"demo", "pool build", "explore"}
WITHOUT = {
    "circuit", "compact", "drift", "evaluate", "export", "gc", "match", "pool import",
    "pool list", "pool random", "pool words", "publish", "push", "roles build", "roles set", "runs",
    "similarity", "sql", "tune", "verify",
}  # fmt: skip


UNKNOWN = {
    "ablate": "--total --classifier c --heads L1H1 --group-by nowhere",
    "edges": "--scan nowhere",
    "effects": "--classifier nowhere",
    "module-cosines": "--classifier nowhere",
    "pairs": "nowhere",
}
"""Of commands that measure stored pictures again, options with a name that is not there."""


def up_to_torch(given: list[list[str]]) -> list[tuple[str, list[str]]]:
    """Return, of each command line, how it ended, or for what it first asked; and its lines."""
    done = subprocess.run(
        [sys.executable, "-c", UP_TO_TORCH, json.dumps(given)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    ended = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return [(end, lines) for end, lines in ended]


@pytest.fixture(scope="module")
def classified(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of that warehouse, w, that has a classifier, c."""
    folder = tmp_path_factory.mktemp("first")
    shutil.copytree(published, folder / "w")
    zeroshot.run(
        ZeroShotConfig(
            warehouse=folder / "w", classes="a=bird,b=car", templates="none", classifier="c"
        )
    )
    return folder


@pytest.fixture(scope="module")
def said(classified: Path, tiny_config: Path) -> dict[str, tuple[str, list[str]]]:
    """Return, of each command, what it first asked for, and the lines that it had written."""
    folder = classified
    for name in ("pictures", "data/images", "data/masks"):
        (folder / name).mkdir(parents=True)
        Image.new("L", (32, 32)).save(folder / name / "a.png")
    (folder / "data" / "metadata.csv").write_text("img_filename,kind\nimages/a.png,cat\n")
    plan = {
        "warehouse": str(folder / "w"),
        "scan": {
            "source": str(folder / "pictures"), "model": str(tiny_config), "pretrained": "none",
            "scan": "n",
        },
    }  # fmt: skip
    (folder / "plan.yaml").write_text(json.dumps(plan))
    paths = {
        "folder": folder, "picture": folder / "pictures" / "a.png", "masks": folder / "data",
        "model": tiny_config, "plan": folder / "plan.yaml",
    }  # fmt: skip
    given = []
    for command, options in OF_A_MODEL.items():
        words = [*command.split(), *options.format(**paths).split()]
        words += [] if command in ("models", "refresh") else ["--warehouse", str(folder / "w")]
        given.append(words)
    return dict(zip(OF_A_MODEL, up_to_torch(given), strict=True))


@pytest.mark.parametrize("command", OF_A_MODEL)
def test_a_command_says_what_it_is_at_before_it_imports_torch(
    command: str, said: dict[str, tuple[str, list[str]]]
) -> None:
    asked, lines = said[command]
    assert asked in ("torch", "ray"), (asked, lines)
    assert any(json.loads(line)["event"] in ("note", "progress") for line in lines), lines


def test_a_name_that_is_not_there_is_said_before_torch_is_imported(classified: Path) -> None:
    given = [
        [name, *options.split(), "--warehouse", str(classified / "w")]
        for name, options in UNKNOWN.items()
    ]
    for name, (ended, lines) in zip(UNKNOWN, up_to_torch(given), strict=True):
        assert ended == "2", (name, ended, lines)
        assert "nowhere" in json.loads(lines[-1])["text"], (name, lines)


def test_of_every_command_it_is_known_whether_it_loads_a_model() -> None:
    known = [*OF_A_MODEL, *LATER, *WITHOUT]
    assert sorted(known) == sorted(command.name for command in commands())


SLOW = ("torch", "ray", "open_clip", "transformers", "scipy.stats", "openai", "altair", "pandas")
"""What takes a second or more of a core to load."""


def test_no_command_loads_what_is_slow_before_it_reads_its_options() -> None:
    code = (
        "import json, sys\n"
        "from jobs.command import commands\n"
        "print(json.dumps([[c.module.__name__, *(m for m in sys.argv[1:] if m in sys.modules)]"
        " for c in commands()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *SLOW],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    loaded = {name: slow for name, *slow in json.loads(done.stdout)}
    assert len(loaded) == len(commands())
    assert {name: slow for name, slow in loaded.items() if slow} == {}


SLOW_DISK = """
import sys, threading

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "jobs.commands.refresh":
            threading.Event().wait(float(sys.argv[1]))

sys.meta_path.insert(0, Slow())
from jobs.cli import main
main(["refresh", "-h"])
"""


def test_a_command_that_takes_long_to_load_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLOW_DISK, "3"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    assert "YAML file" in done.stdout
    (said,) = map(json.loads, done.stderr.splitlines())
    assert said["text"] == "loading headatlas refresh"
