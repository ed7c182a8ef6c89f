"""The demo's warehouse answers every example of the documentation with rows."""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import headatlas
from docs.generate import warehouse as page
from schemas.macros import MACROS
from schemas.tables import LAYER_VIEW, ROLE_VIEW, TABLES
from warehouse.database.query import ask, connect_restricted
from warehouse.files.layout import Warehouse

EXAMPLES = {what.name: what.example for what in (*TABLES, LAYER_VIEW, ROLE_VIEW, *MACROS)}
ROOT = Path(__file__).parents[2]
# reproducing.md is run whole, by a test of its own
PROSE = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROSE = [path for path in PROSE if path.name not in ("log.md", "reproducing.md")]
VERB = r"(?:SELECT|FROM|WITH|ATTACH|USE|SET VARIABLE|SET search_path)\b"
# what a reader has, and what the demo has instead
HERE = {
    "L11H3": "L4H1",
    "L22H11": "L5H0",
    "'cat.jpg'": "'images/000003.png'",
    "s3://bucket/atlas": "atlas",
    "FOLDER": "atlas",
}


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


def sql_in(text: str) -> Iterator[str]:
    """Yield the SQL of a page's own words: in blocks, in quotes after a command, between backticks.

    What is in fences of `sql` is made of the declarations, and asked above.
    """
    text = re.sub(r"```sql\n.*?\n```", "", text, flags=re.DOTALL)
    yield from re.findall(rf"(?:^    {VERB}.*\n)+", text, re.MULTILINE)
    asked = rf"(?:headatlas sql|ha\.sql\(|duckdb -readonly \S+) ?(?:\n *)?\"({VERB}[^\"]*)\""
    yield from re.findall(asked, text)
    yield from re.findall(rf"`({VERB} [^`]*)`", text)


def test_sql_is_found_wherever_a_page_has_some() -> None:
    page = """
Ask `FROM heads`, or as a file:

    USE a;
    FROM images;

    headatlas sql "SELECT 1" --format csv
    duckdb -readonly a.duckdb "SELECT 2"

    ha.sql(
        "SELECT 3"
    )
"""
    found = [" ".join(sql.split()) for sql in sql_in(page)]
    assert found == ["USE a; FROM images;", "SELECT 1", "SELECT 2", "SELECT 3", "FROM heads"]


@pytest.mark.parametrize("page", PROSE, ids=lambda path: path.name)
def test_every_sql_in_prose_has_rows(
    page: Path, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "atlas").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    for sql in sql_in(page.read_text(encoding="utf-8")):
        for there, here in HERE.items():
            sql = sql.replace(there, here)
        alone = "ATTACH" in sql
        with duckdb.connect("" if alone else "atlas/atlas.duckdb", read_only=not alone) as con:
            rows = con.execute(sql).fetchall()
        told = re.findall(rf"^ *{VERB}", sql, re.MULTILINE)[-1].split()[0]
        assert rows or told not in ("SELECT", "FROM", "WITH"), sql


def test_readme_and_the_pages_of_sql_have_some() -> None:
    counts = {path.name: len([*sql_in(path.read_text(encoding="utf-8"))]) for path in PROSE}
    assert min(counts[name] for name in ("README.md", "python.md", "operations.md")) >= 1
    assert counts["warehouse.md"] >= 3 and counts["running.md"] >= 1
