"""Invariant 12: what a page of the explorer shows equals what its SQL returns."""

from collections.abc import Callable
from functools import cache, partial
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from jobs.explore.render import say
from tests.jobs.explore.reading import Shown, answers, panels
from tests.synthetic import Shape, write_scan
from warehouse.database.publish import publish
from warehouse.files.layout import Warehouse

KEY = "images/000001.png"
TEXT = "a photo of a red thing"
PAGES = (
    "/",
    "/?by=abs_total",
    "/?by=role",
    "/?find=colour",
    "/head/L5H0",
    "/head/l4h1",
    "/roles",
    "/role/colour",
    f"/picture/{quote(KEY, safe='')}",
    "/what-if",
    "/what-if/kinds?heads=L5H0,L4H1&by=background",
    "/search",
    "/search?text=red",
    f"/typed?text={quote(TEXT)}",
    "/compare",
    "/sql",
    "/sql?q=FROM+heads",
    "/runs",
)
# results that the fixture does not make: their panels must say how to
NOT_MADE = {"drift", "matches", "spurious"}


@pytest.fixture(scope="module")
def shown(client: TestClient) -> Callable[[str], dict[str, Shown]]:
    """Return what gives a page's panels, asked for once."""
    return cache(partial(panels, client))


@pytest.mark.parametrize("page", PAGES)
def test_every_panel_has_an_answer_or_says_how_to_get_it(
    shown: Callable[[str], dict[str, Shown]], page: str
) -> None:
    for key, panel in shown(page).items():
        if panel.complaint is not None and key in NOT_MADE:
            assert panel.command or key in ("matches", "spurious"), key
        elif panel.complaint is not None:
            assert panel.complaint.startswith("None"), (key, panel.complaint)


@pytest.mark.parametrize("page", PAGES)
def test_the_sql_of_every_panel_runs_in_a_plain_client(
    shown: Callable[[str], dict[str, Shown]], explored: Warehouse, page: str
) -> None:
    for key, panel in shown(page).items():
        if panel.sql is not None and key not in NOT_MADE:
            answers(explored, panel.sql)


@pytest.mark.parametrize(
    ("page", "key"),
    [
        ("/head/L5H0", "retrieval"),
        ("/head/L5H0", "alike"),
        ("/role/colour", "heads"),
        ("/compare", "heads"),
    ],
)
def test_a_table_shows_what_its_sql_returns(
    shown: Callable[[str], dict[str, Shown]], explored: Warehouse, page: str, key: str
) -> None:
    panel = shown(page)[key]
    assert panel.sql is not None
    expected = [[say(value) for value in row.values()] for row in answers(explored, panel.sql)]
    assert expected
    assert panel.table == expected


def test_a_panel_without_its_result_names_the_command(
    bare: Warehouse, serve: Callable[[Warehouse], TestClient]
) -> None:
    client = serve(bare)
    head = panels(client, "/head/L1H0")
    assert head["texts"].command == "headatlas textspan --pool POOL --scan scan"
    assert head["role"].command == "headatlas roles build --basis BASIS --scan scan"
    assert (head["off"].command or "").startswith("headatlas zeroshot")
    assert (panels(client, "/what-if")["whatif"].command or "").startswith("headatlas zeroshot")


def test_what_does_not_exist_is_said_by_name(client: TestClient) -> None:
    assert "No head L9H9" in client.get("/head/L9H9").text
    assert "No picture" in client.get("/picture/nothing.png").text
    answer = client.get("/?scan=nothing")
    assert answer.status_code == 404
    assert "there is world" in answer.text
    for panel in ("", "?heads=L1H0&panel=control"):
        answer = client.get(f"/what-if/kind{panel}")
        assert answer.status_code == 404
        assert "no classifier 'kind'; there is kinds" in unescape(answer.text)


@pytest.mark.parametrize(("layers", "heads"), [(1, 2), (48, 24)])
def test_two_heads_and_1152(
    tmp_path: Path, serve: Callable[[Warehouse], TestClient], layers: int, heads: int
) -> None:
    shape = Shape(tuple(range(layers)), layers, heads, d_head=4, d_joint=8, shard_size=8)
    write_scan(tmp_path, pictures=8, shape=shape)
    publish(Warehouse(tmp_path))
    grid = panels(serve(Warehouse(tmp_path)), "/")["grid"]
    assert grid.html.count("<td") == layers * heads


def test_downloads_are_the_whole_answer(client: TestClient, explored: Warehouse) -> None:
    answer = client.get(
        "/download.csv", params={"q": "SELECT image_id FROM image_index ORDER BY 1"}
    )
    assert answer.status_code == 200
    ids = [int(line) for line in answer.text.splitlines()[1:]]
    assert ids == [
        row["image_id"] for row in answers(explored, "FROM image_index ORDER BY image_id")
    ]
    assert client.get("/download.parquet", params={"q": "FROM heads"}).content[:4] == b"PAR1"
