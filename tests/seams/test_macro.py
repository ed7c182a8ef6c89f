"""A macro is a declaration and its SQL: CONTRIBUTING.md's own, published and asked."""

import json
import re
from pathlib import Path

import pytest

from tests.seams.house import ROOT, House, build
from tests.synthetic import Shape, write_scan

FILES = ("schemas/macros/pictures_of.py", "warehouse/sql/macros/pictures_of.sql")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Return the copy with the two files that CONTRIBUTING.md shows."""
    found = build(tmp_path_factory.mktemp("house"))
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for file in FILES:
        said = re.search(rf"`{re.escape(file)}`.*?```[a-z]+\n(.*?)```", page, re.S)
        assert said is not None, file
        found.add(file, said[1])
    return found


@pytest.fixture(scope="module")
def atlas(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("atlas")
    write_scan(root, pictures=12, shape=Shape(layers=(2,)))
    done = house.run("publish", "--warehouse", root)
    assert done.returncode == 0, done.stderr
    return root


def test_it_is_asked_by_the_program(house: House, atlas: Path) -> None:
    asked = "SELECT image_id FROM pictures_of('kind 1')"
    done = house.run("sql", asked, "--warehouse", atlas, "--format", "json")
    assert [row["image_id"] for row in json.loads(done.stdout)] == [1, 4, 7, 10]


@pytest.mark.parametrize(
    "around",
    ["FROM {}", "FROM {} WHERE key = 'x'", "SELECT count(*) FROM {}", "SELECT EXISTS (FROM {})"],
)
def test_it_raises_its_complaint_under_anything(house: House, atlas: Path, around: str) -> None:
    done = house.run("sql", around.format("pictures_of('unicorn')"), "--warehouse", atlas)
    assert done.returncode == 2
    assert "no picture of scan 'scan' has label 'unicorn'" in done.stderr


def test_a_column_may_be_its_argument(house: House, atlas: Path) -> None:
    asked = (
        "SELECT l.label, count(*) AS n FROM (SELECT DISTINCT label FROM images) AS l,"
        " pictures_of(label) GROUP BY ALL ORDER BY ALL"
    )
    done = house.run("sql", asked, "--warehouse", atlas)
    assert done.stdout == "label,n\nkind 0,4\nkind 1,4\nkind 2,4\n"


def test_its_comment_is_in_the_database(house: House, atlas: Path) -> None:
    asked = "SELECT comment FROM duckdb_functions() WHERE function_name = 'pictures_of'"
    done = house.run("sql", asked, "--warehouse", atlas)
    assert done.stdout == "comment\nPictures that carry a label.\n"
