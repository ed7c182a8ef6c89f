"""Invariant 12: what a page of the explorer shows equals what its SQL returns."""

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from urllib.parse import quote

import duckdb
import numpy as np
import pytest
from starlette.testclient import TestClient

from jobs.explore.app import application
from jobs.explore.database import Database
from jobs.explore.explorer import Explorer
from jobs.explore.pages.atlas import MEASURES
from jobs.explore.render import say
from jobs.steps.opened import open_scan
from schemas.names import head_name, parse_head
from tests.jobs.explore.conftest import picture_file
from tests.jobs.explore.reading import Shown, elements, panels
from tests.synthetic import Shape, write_scan
from warehouse.database.publish import publish
from warehouse.files.layout import Warehouse
from warehouse.store.reading import read_head

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


def answers(warehouse: Warehouse, sql: str) -> list[dict[str, object]]:
    """Return what a client without any code of ours gets for a statement."""
    with closing(duckdb.connect(str(warehouse.database.resolve()), read_only=True)) as con:
        found = con.sql(sql)
        return [] if found is None else found.to_arrow_table().to_pylist()


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


def test_the_grid_shows_what_its_sql_returns(client: TestClient, explored: Warehouse) -> None:
    panel = panels(client, "/")["grid"]
    assert panel.sql is not None
    rows = answers(explored, panel.sql)
    assert len(rows) == 36
    for row in rows:
        share = f"{row['variance_share']:.1%}"
        assert f'aria-label="{row["name"]}: {share}"' in panel.html


@pytest.mark.parametrize("by", ["abs_total", "abs_direct", "abs_indirect", "repair"])
def test_the_grid_shows_effects_over_the_targets(
    client: TestClient, explored: Warehouse, by: str
) -> None:
    panel = panels(client, f"/?by={by}")["grid"]
    rows = answers(explored, "FROM head_effects")
    form = next(m for m in MEASURES if m.column == by)
    for name in ("L5H0", "L2H3"):
        mine = [row for row in rows if row["name"] == name]
        of = {
            "abs_total": np.mean([row["abs_total"] for row in mine]),
            "abs_direct": np.mean([row["abs_direct"] for row in mine]),
            "abs_indirect": np.mean([abs(row["total"] - row["direct"]) for row in mine]),
            "repair": np.median([row["repair"] for row in mine]),
        }
        assert f'aria-label="{name}: {form.say(float(of[by]))}"' in panel.html


def test_total_against_direct_has_a_point_a_target(client: TestClient, explored: Warehouse) -> None:
    drawn = panels(client, "/head/L5H0")["effects"].chart
    rows = answers(explored, "FROM head_effects WHERE name = 'L5H0'")
    assert {(r["target"], r["direct"], r["total"]) for r in drawn if "target" in r} == {
        (row["target"], row["abs_direct"], row["abs_total"]) for row in rows
    }


def test_a_text_of_a_pool_needs_no_model(
    explored: Warehouse, serve: Callable[[Warehouse], TestClient]
) -> None:
    explorer = Explorer.over(explored)
    client = TestClient(application(explorer, hosts=(), token=None))
    found = panels(client, f"/typed?text={quote(TEXT)}")
    assert explorer.model.loaded == ()
    strong = answers(explored, f"FROM heads_by_text('{TEXT}', k := 5)")
    assert {f"by-{row['name']}" for row in strong} < set(found)
    for row in strong:
        expected = answers(explored, f"FROM nearest_by_text('{TEXT}', '{row['name']}', k := 8)")
        panel = found[f"by-{row['name']}"]
        assert panel.sql is not None
        assert [r["key"] for r in answers(explored, panel.sql)] == [r["key"] for r in expected]


def test_a_typed_text_is_asked_of_the_whole_and_of_each_strong_head(
    explored: Warehouse, serve: Callable[[Warehouse], TestClient]
) -> None:
    text = "crimson things, seven of them"
    explorer = Explorer.over(explored)
    client = TestClient(application(explorer, hosts=(), token=None))
    found = panels(client, f"/typed?text={quote(text)}")
    assert explorer.model.loaded == ("world",)
    vector = np.array(explorer.model.text_vector("world", text))
    opened = open_scan(explored, "world")
    whole = answers(explored, "SELECT key, embedding FROM images ORDER BY image_id")
    cosines = np.array([row["embedding"] for row in whole]) @ vector
    best = [whole[i]["key"] for i in np.argsort(-cosines, kind="stable")[:8]]
    assert found["whole"].sql is not None
    assert [r["key"] for r in answers(explored, found["whole"].sql)] == best
    along = {
        head_name(*head): vector
        @ (frame := opened.frame(*head))
        @ opened.covariance(*head)
        @ (frame.T @ vector)
        for head in opened.heads
    }
    strongest = sorted(along, key=lambda name: -along[name])[:5]
    assert [key for key in found if key.startswith("by-")] == [f"by-{n}" for n in strongest]
    for name in strongest[:2]:
        head = parse_head(name)
        ids, vectors = read_head(opened.scan, opened.shards, *head)
        scores = (vectors.astype(float) - vectors.astype(float).mean(0)) @ (
            opened.frame(*head).T @ vector
        )
        sql = found[f"by-{name}"].sql
        assert sql is not None
        rows = answers(explored, sql)
        assert [r["image_id"] for r in rows] == ids[np.argsort(-scores)[:8]].tolist()


def test_charts_draw_what_their_sql_returns(client: TestClient, explored: Warehouse) -> None:
    found = panels(client, "/head/L5H0")
    texts, sql = found["texts"].chart, found["texts"].sql
    assert sql is not None
    assert [row["cumulative"] for row in texts] == [r["cumulative"] for r in answers(explored, sql)]
    attributes, sql = found["attributes"].chart, found["attributes"].sql
    assert sql is not None
    assert {row["name"]: row["value"] for row in attributes} == {
        row["attribute"]: row["r2"] for row in answers(explored, sql)
    }


def test_a_pictures_switches_are_the_ablation_macros_numbers(
    client: TestClient, explored: Warehouse
) -> None:
    page = f"/picture/{quote(KEY, safe='')}?off=L5H4,L4H1"
    panel = panels(client, page)["whatif"]
    (expected,) = answers(explored, f"FROM ablate('kinds', ['L5H4', 'L4H1']) WHERE key = '{KEY}'")
    assert panel.sql is not None
    rows = answers(explored, panel.sql)
    assert max(rows, key=lambda row: float(str(row["after"])))["class_name"] == expected["after"]
    assert max(float(str(row["after"])) for row in rows) == pytest.approx(
        expected["logit_after"], abs=1e-6
    )
    assert rows[0]["class_name"] == expected["before"]
    assert f"<b><bdi>{expected['after']}</bdi></b>" in panel.html
    margin = float(str(rows[0]["after"])) - float(str(rows[1]["after"]))
    assert f"<b>{say(margin)}</b>" in panel.html


def test_the_heads_shown_are_those_for_the_class_chosen(
    client: TestClient, explored: Warehouse
) -> None:
    key = quote(KEY, safe="")
    names = [
        str(row["class_name"])
        for row in answers(
            explored,
            "SELECT class_name FROM classifiers WHERE classifier = 'kinds' ORDER BY class_name",
        )
    ]
    first = panels(client, f"/picture/{key}")["classes"].html
    one, other = names[-1], names[0]
    page = panels(client, f"/picture/{key}?class={quote(one)}&against={quote(other)}&off=L5H4")
    assert page["classes"].html != first
    assert f"Heads for {one} rather than {other}" in page["heads"].html
    shown = {row["name"]: row["value"] for row in page["heads"].chart}
    (expected,) = answers(
        explored,
        f"""FROM (
            FROM head_logits AS a
            JOIN head_logits AS b USING (scan_id, classifier, image_id, layer, head)
            JOIN classifiers AS c ON c.classifier = a.classifier AND c.class = a.class
            JOIN classifiers AS d ON d.classifier = b.classifier AND d.class = b.class
            JOIN images AS i ON i.image_id = a.image_id
            SELECT i.key, a.layer, a.head, c.class_name AS one, d.class_name AS other,
                classifier, a.logit - b.logit AS margin
        ) WHERE key = '{KEY}' AND classifier = 'kinds' AND layer = 5 AND head = 4
        AND one = '{one}' AND other = '{other}'""",
    )
    assert shown["L5H4"] == pytest.approx(expected["margin"], abs=1e-6)
    # a switch keeps the classes chosen; a class that is not there is the nearest one
    assert f"class={quote(one)}" in page["whatif"].html
    nothing = panels(client, f"/picture/{key}?class=no+such+class")
    assert nothing["heads"].html == panels(client, f"/picture/{key}")["heads"].html
    assert "No class <bdi>no such class</bdi>" in nothing["classes"].html


def test_the_nearest_are_those_of_the_picture_pressed(
    client: TestClient, explored: Warehouse
) -> None:
    strip = panels(client, "/head/L5H0")["strip0"]
    links = [e for e in elements(strip.html) if e.attributes.get("data-swap") == "nearest"]
    assert len(links) == 10
    address = links[3].attributes["href"].removesuffix("#nearest")
    nearest = panels(client, address)["nearest"]
    assert strip.sql is not None and nearest.sql is not None
    key = answers(explored, strip.sql)[3]["key"]
    expected = answers(explored, f"FROM nearest_by_head('{key}', 'L5H0', k := 12)")
    assert [r["key"] for r in answers(explored, nearest.sql)] == [r["key"] for r in expected]


@pytest.mark.parametrize("attribute", ["background", "colour"])
def test_the_grid_shows_r2_of_an_attribute(
    client: TestClient, explored: Warehouse, attribute: str
) -> None:
    panel = panels(client, f"/?by=r2:{attribute}")["grid"]
    rows = answers(explored, f"FROM head_attributes WHERE attribute = '{attribute}'")
    assert len(rows) == 36
    for row in rows:
        assert f'aria-label="L{row["layer"]}H{row["head"]}: {row["r2"]:.0%}"' in panel.html


def test_what_if_shows_the_macros_numbers(client: TestClient, explored: Warehouse) -> None:
    panel = panels(client, "/what-if/kinds?heads=L5H4,L5H0&by=background")["groups"]
    expected = answers(
        explored, "FROM group_accuracy('kinds', ['L5H4', 'L5H0'], by := ['background'])"
    )
    (mean,) = (row for row in expected if row["kind"] == "mean")
    assert f"{mean['before']:.1%} → <b>{mean['after']:.1%}</b>" in panel.html
    drawn = {row["group"]: row["after"] for row in panel.chart}
    assert drawn == {
        row["members"][0]: row["after"]  # type: ignore[index]
        for row in expected
        if row["kind"] == "group"
    }


def test_strips_run_from_least_to_most(client: TestClient, explored: Warehouse) -> None:
    panel = panels(client, "/head/L5H0")["strip0"]
    assert panel.sql is not None
    rows = answers(explored, panel.sql)
    scores = [float(str(row["score"])) for row in rows]
    assert len(rows) == 10
    assert scores == sorted(scores)


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


@pytest.mark.parametrize(("layers", "heads"), [(1, 2), (48, 24)])
def test_two_heads_and_1152(
    tmp_path: Path, serve: Callable[[Warehouse], TestClient], layers: int, heads: int
) -> None:
    shape = Shape(tuple(range(layers)), layers, heads, d_head=4, d_joint=8, shard_size=8)
    write_scan(tmp_path, pictures=8, shape=shape)
    publish(Warehouse(tmp_path))
    grid = panels(serve(Warehouse(tmp_path)), "/")["grid"]
    assert grid.html.count("<td") == layers * heads


def test_a_picture_that_is_gone_has_a_placeholder_that_says_so(
    explored: Warehouse, serve: Callable[[Warehouse], TestClient]
) -> None:
    path = picture_file(explored) / KEY
    kept = path.read_bytes()
    path.unlink()
    try:
        gone = serve(explored).get("/thumb/world/1.jpg")
    finally:
        path.write_bytes(kept)
    there = serve(explored).get("/thumb/world/1.jpg")
    assert (gone.status_code, there.status_code) == (200, 200)
    assert gone.headers["content-type"] == there.headers["content-type"] == "image/jpeg"
    assert gone.content != there.content
    assert "max-age" not in gone.headers["cache-control"]


def test_a_new_version_is_taken_up_at_the_next_request(
    tmp_path: Path, serve: Callable[[Warehouse], TestClient]
) -> None:
    write_scan(tmp_path)
    warehouse = Warehouse(tmp_path)
    publish(warehouse)
    client = serve(warehouse)
    assert 'data-version="1"' in client.get("/").text
    database = Database(warehouse)
    with database.cursor() as before:
        write_scan(tmp_path, "second", created_at="2026-02-01T00:00:00+00:00")
        publish(warehouse)
        assert len(before.ask("scans").rows) == 1
    assert client.get("/version").json() == {"version": 2}
    page = client.get("/").text
    assert 'data-version="2"' in page
    assert "second" in page


def test_a_warehouse_that_moves_is_read_where_it_is(
    explored: Warehouse, tmp_path: Path, serve: Callable[[Warehouse], TestClient]
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(explored.root, moved, symlinks=True)
    found = panels(serve(Warehouse(moved)), "/head/L5H0")
    assert found["nearest"].complaint is None


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


@pytest.mark.parametrize(
    ("many", "seconds"), [(4, 0), pytest.param(20, 60, marks=pytest.mark.slow)]
)
def test_many_readers_while_others_publish(
    tmp_path: Path, serve: Callable[[Warehouse], TestClient], many: int, seconds: float
) -> None:
    write_scan(tmp_path)
    warehouse = Warehouse(tmp_path)
    published = [publish(warehouse).version]
    client = serve(warehouse)
    ended, failures = threading.Event(), []

    def read() -> None:
        while not ended.is_set():
            for page in ("/", "/head/L1H0", "/sql"):
                answer = client.get(page)
                if answer.status_code != 200:
                    failures.append(answer.text)

    readers = [threading.Thread(target=read) for _ in range(many)]
    for reader in readers:
        reader.start()
    until = time.monotonic() + seconds
    while len(published) < 3 or time.monotonic() < until:
        published.append(publish(warehouse).version)
    ended.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert client.get("/version").json() == {"version": published[-1]}
