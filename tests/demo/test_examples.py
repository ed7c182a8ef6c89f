"""The demo's warehouse answers every example of the documentation with rows."""

import re
from pathlib import Path

import pytest

import headatlas
from docs.generate import warehouse as page
from schemas.macros import MACROS
from schemas.tables import LAYER_VIEW, ROLE_VIEW, TABLES
from warehouse.database.query import ask, connect_restricted
from warehouse.files.layout import Warehouse

EXAMPLES = {what.name: what.example for what in (*TABLES, LAYER_VIEW, ROLE_VIEW, *MACROS)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    done = headatlas.demo(warehouse=root, pictures=400)
    assert done.trained and done.heads.num_rows
    for question, _, answer in done.answers:
        assert answer.num_rows, question
    return root


def test_every_example_is_one_of_its_own_and_on_the_page() -> None:
    shown = re.findall(r"```sql\n(.*?)\n```", page(), re.S)
    for name, example in EXAMPLES.items():
        assert name in example, name
        assert example in shown or name in (LAYER_VIEW.name, ROLE_VIEW.name), name


def test_every_example_of_the_documentation_has_rows(root: Path) -> None:
    empty = []
    with connect_restricted(Warehouse(root)) as con:
        for name, example in EXAMPLES.items():
            found = ask(con, example).table
            rows = found.to_pylist()
            if not rows or all(value is None for row in rows for value in row.values()):
                empty.append(name)
    assert not empty


def test_one_picture_is_a_reject_and_the_default_scan_is_the_demo(root: Path) -> None:
    with connect_restricted(Warehouse(root)) as con:
        found = ask(con, "SELECT images, rejects, is_default FROM scans ORDER BY scan_id").table
        assert [tuple(row.values()) for row in found.to_pylist()] == [
            (300, 0, False),
            (400, 1, True),
            (40, 0, False),
        ]
        after = ask(
            con,
            "SELECT r.role, avg(a.correct_after::INT) AS after FROM (SELECT DISTINCT role FROM"
            " default_scan.head_roles WHERE role IS NOT NULL) AS r, ablate_role('kinds', role) AS a"
            " GROUP BY ALL",
        ).table
        assert len(set(after["after"].to_pylist())) > 1
