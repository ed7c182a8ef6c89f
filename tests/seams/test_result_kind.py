"""A kind of result is one file of `schemas/results/`: CONTRIBUTING.md's own, by the program."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.model import CONFIG
from tests.seams.house import ROOT, House, build


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Return the copy with the two files that CONTRIBUTING.md shows."""
    found = build(tmp_path_factory.mktemp("house"))
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in ("schemas/results/label_counts.py", "jobs/commands/label_counts.py"):
        said = re.search(rf"`{re.escape(name)}`.*?```python\n(.*?)```", page, re.S)
        assert said is not None, name
        found.add(name, said[1])
    return found


def write(folder: Path, labels: str) -> Path:
    listing = folder / "listing.csv"
    with listing.open("w") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "kind"])
        for i, label in enumerate(labels):
            path = folder / f"{i}.png"
            noise = np.random.default_rng(i).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(noise).save(path)
            rows.writerow([path, label])
    return listing


def test_it_is_made_published_and_made_anew_when_its_claim_breaks(
    house: House, tmp_path: Path
) -> None:
    def run(*arguments: object) -> str:
        done = house.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    warehouse = ("--warehouse", tmp_path / "w")
    source = ("--path-column", "path", "--labels", "kind", "--scan", "s", "--workers", 0)
    model = ("--model", CONFIG, "--pretrained", "none")
    scan = ("scan", write(tmp_path, "aab"), *model, *source, *warehouse)
    run(*scan)
    assert "not there yet" in run("label-counts", *warehouse)
    asked = ("sql", "SELECT label, n, stale FROM label_counts ORDER BY label", *warehouse)
    assert re.findall(r"[ab]\W+(\d)\W+(?:f|F)alse", run(*asked)) == ["2", "1"]
    assert "there already" in run("label-counts", *warehouse)
    assert "option least 1 -> 2" in run("label-counts", "--least", 2, *warehouse)
    write(tmp_path, "abb")
    assert "labels or metadata changed" in run(*scan)
    assert "labels or metadata changed" in run("label-counts", "--least", 2, *warehouse)
    run("verify", *warehouse)
