"""A map method is one file of `pipeline/maps/methods/`: CONTRIBUTING.md's own, by the program."""

import re
from pathlib import Path

import pytest
from PIL import Image

from demo.model import CONFIG
from tests.seams.house import ROOT, House, build


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Return the copy with the file that CONTRIBUTING.md shows."""
    found = build(tmp_path_factory.mktemp("house"))
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    said = re.search(r"`pipeline/maps/methods/brightness\.py`.*?```python\n(.*?)```", page, re.S)
    assert said is not None
    found.add("pipeline/maps/methods/brightness.py", said[1])
    return found


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a picture whose right half is white."""
    image = Image.new("RGB", (64, 64), "black")
    image.paste("white", (32, 0, 64, 64))
    path = tmp_path_factory.mktemp("toy") / "half.png"
    image.save(path)
    return path


def test_map_draws_it(house: House, picture: Path) -> None:
    output = picture.with_name("map.png")
    done = house.run(
        *("map", picture, "a wall", "--model", CONFIG, "--pretrained", "none"),
        *("--method", "brightness", "--points", "--output", output),
    )
    assert done.returncode == 0, done.stderr
    with Image.open(output) as drawn:
        assert drawn.format == "PNG"
    # the strongest points lie in the white half
    xs = [float(x) for x in re.findall(r"\[\s*([\d.]+),\s*[\d.]+\s*\]", done.stdout)]
    assert xs and max(xs[: len(xs) // 2]) > 32 and min(xs[: len(xs) // 2]) > 32


def test_errors_and_segment_know_it(house: House, picture: Path, tmp_path: Path) -> None:
    wrong = house.run("map", picture, "a wall", "--model", CONFIG, "--method", "brightnes")
    assert wrong.returncode == 2
    said = " ".join(wrong.stderr.split())
    assert "did you mean brightness?" in said and "traced-contribution" in said
    data = tmp_path / "data"
    for folder in ("images", "masks"):
        (data / folder).mkdir(parents=True)
        with Image.open(picture) as image:
            (image if folder == "images" else image.convert("L")).save(data / folder / "a.png")
    done = house.run(
        *("segment", data, "--model", CONFIG, "--pretrained", "none", "--classes", "wall,floor"),
        *("--methods", "brightness,tokens", "--workers", 0, "--output", tmp_path / "out"),
    )
    assert done.returncode == 0, done.stderr
    scores = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    row = dict(zip(scores[0].split(","), scores[1].split(","), strict=True))
    assert row['"method"'] == '"brightness"' and float(row['"miou"']) == 1.0
