"""A mask layout is one file of `pipeline/masks/`: CONTRIBUTING.md's own, by `headatlas segment`."""

import csv
import re
from pathlib import Path

import numpy as np
from PIL import Image

from demo.model import CONFIG
from tests.seams.house import ROOT, build


def test_segment_scores_a_layout_that_one_file_describes(tmp_path: Path) -> None:
    house = build(tmp_path / "house")
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    said = re.search(r"`pipeline/masks/beside\.py`.*?```python\n(.*?)```", page, re.S)
    assert said is not None
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        noise = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(data / f"{name}.jpg")
        mask = np.zeros((64, 64), dtype=np.uint8)
        mask[10:30, 10:40] = 255
        Image.fromarray(mask).save(data / f"{name}_mask.png")
    options = ("--model", CONFIG, "--pretrained", "none", "--classes", "cat,dog", "--workers", 0)
    options = (*options, "--methods", "tokens", "--output", tmp_path / "out")
    before = house.run("segment", data, *options)
    assert before.returncode == 1 and "expected images/ and masks/" in before.stderr
    house.add("pipeline/masks/beside.py", said[1])
    done = house.run("segment", data, *options)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["images"], row["maps"]) == ("2", "2")
    wrong = house.run("segment", tmp_path, *options)
    assert "NAME_mask.png" in wrong.stderr
