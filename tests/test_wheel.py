"""The wheel: every file of the packages is in it, and what is in it runs by itself."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import headatlas
from headatlas import PACKAGES

ROOT = Path(__file__).parents[1]
ALL = (*PACKAGES, "headatlas")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel without a network, as `pip wheel . --no-deps` does with one."""
    pytest.importorskip("hatchling", reason="extra dev brings it")
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        inside = set(opened.namelist())
        for name in inside & {"demo/small_clip.safetensors", "schemas/errors.py"}:
            assert opened.read(name) == (ROOT / name).read_bytes()
    tracked = subprocess.run(
        ["git", "ls-files", *ALL], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    wanted = {name for name in tracked if (ROOT / name).is_file()}
    kinds = {Path(name).suffix.lstrip(".") for name in wanted}
    assert kinds >= {"sql", "html", "css", "js", "safetensors", "csv", "json", "yaml", "typed"}
    assert wanted <= inside
    assert {f"{package}/py.typed" for package in ALL} <= inside
    assert not [name for name in inside if name.startswith(("tests/", "benchmarks/", "docs/"))]


def test_what_is_unpacked_runs_by_itself(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    told = subprocess.run(
        [sys.executable, "-m", "headatlas", "--version"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert told.stdout.split()[-1] == headatlas.__version__
    where = "import headatlas, jobs; import pipeline.texts.pool as p\n"
    where += "print(jobs.__file__, p.GENERAL.is_file())"
    found = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout.split() == [str(tmp_path / "site" / "jobs" / "__init__.py"), "True"]
    (entry,) = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    assert "headatlas = headatlas.__main__:main" in entry.read_text()
