"""A copy of the program in a folder of its own, to add one file to as CONTRIBUTING.md says."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests import warm

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "pipeline", "warehouse", "jobs", "headatlas", "demo")


@dataclass(frozen=True)
class House:
    """The copy.

    Attributes:
        root: the folder that holds the packages.
    """

    root: Path

    def add(self, path: str, text: str) -> Path:
        """Write the one new file."""
        file = self.root / path
        assert not file.exists(), f"{path} is there already"
        file.write_text(text, encoding="utf-8")
        return file

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run `headatlas ARGUMENTS` as a process of its own, from the copy."""
        return warm.run(
            [sys.executable, "-c", "from jobs.cli import main; main()", *map(str, arguments)],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root), "COLUMNS": "200"},
            text=True,
        )


def build(root: Path) -> House:
    """Copy the packages, with what was compiled from them: it holds for the same text and time."""
    for package in PACKAGES:
        if (ROOT / package).is_dir():
            # while it is written, such a file has another name, and may be gone when it is copied
            unfinished = shutil.ignore_patterns("*.pyc.*")
            shutil.copytree(ROOT / package, root / package, ignore=unfinished)
    return House(root)
