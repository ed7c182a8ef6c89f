"""The numbers of grids, charts, strips and switches are those of the macros and tables."""

from urllib.parse import quote

import numpy as np
import pytest
from starlette.testclient import TestClient

from jobs.explore.pages.atlas import MEASURES
from jobs.explore.render import say
from jobs.explore.scales import name_colours
from tests.jobs.explore.reading import answers, elements, panels
from warehouse.files.layout import Warehouse

KEY = "images/000001.png"


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


@pytest.mark.parametrize("attribute", ["background", "colour"])
def test_the_grid_shows_r2_of_an_attribute(
    client: TestClient, explored: Warehouse, attribute: str
) -> None:
    panel = panels(client, f"/?by=r2:{attribute}")["grid"]
    rows = answers(explored, f"FROM head_attributes WHERE attribute = '{attribute}'")
    assert len(rows) == 36
    for row in rows:
        assert f'aria-label="L{row["layer"]}H{row["head"]}: {row["r2"]:.0%}"' in panel.html


def test_total_against_direct_has_a_point_a_target(client: TestClient, explored: Warehouse) -> None:
    drawn = panels(client, "/head/L5H0")["effects"].chart
    rows = answers(explored, "FROM head_effects WHERE name = 'L5H0'")
    assert {(r["target"], r["direct"], r["total"]) for r in drawn if "target" in r} == {
        (row["target"], row["abs_direct"], row["abs_total"]) for row in rows
    }


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


def test_strips_run_from_least_to_most(client: TestClient, explored: Warehouse) -> None:
    panel = panels(client, "/head/L5H0")["strip0"]
    assert panel.sql is not None
    rows = answers(explored, panel.sql)
    scores = [float(str(row["score"])) for row in rows]
    assert len(rows) == 10
    assert scores == sorted(scores)


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


def test_the_control_is_judged_as_the_set_is(client: TestClient, explored: Warehouse) -> None:
    panel = panels(client, "/what-if/kinds?heads=L5H4,L4H0&by=background")["control"]
    assert panel.sql is not None
    rows = answers(explored, panel.sql)
    assert panel.table == [
        [row["heads"], f"{row['mean']:.1%}", f"{row['worst']:.1%}"] for row in rows
    ]
    assert 2 <= len({row["heads"] for row in rows}) == len(rows)
    for row in rows:
        heads = row["heads"].split(", ")
        assert [name[:2] for name in heads] == ["L4", "L5"]
        assert not {"L5H4", "L4H0"} & set(heads)
        kinds = {
            one["kind"]: one["after"]
            for one in answers(
                explored, f"FROM group_accuracy('kinds', {heads}, by := ['background'])"
            )
        }
        assert (row["mean"], row["worst"]) == pytest.approx((kinds["mean"], kinds["worst"]))


def test_a_column_of_numbers_without_any_is_headed_as_one(
    client: TestClient, explored: Warehouse
) -> None:
    found = client.get("/sql", params={"q": "SELECT NULL::DOUBLE AS none, 'x' AS word, 1 AS one"})
    for page in (found.text, client.get("/runs").text):
        assert page.count('<th scope="col" class="number">') >= 2
    assert '<th scope="col" class="number">none</th>' in found.text
    assert '<th scope="col">word</th>' in found.text


def test_a_role_has_one_colour_in_the_atlas_and_among_properties(
    client: TestClient, explored: Warehouse
) -> None:
    roles = [row["role"] for row in answers(explored, "FROM head_roles WHERE role IS NOT NULL")]
    grid, texts = panels(client, "/?by=role")["grid"], panels(client, "/head/L5H0")["texts"]
    found = name_colours(["a property", *roles], roles)
    assert [*found][-1] == "a property"
    assert found["background"] == name_colours(roles)["background"]
    assert found["background"].colour in grid.html
    assert found["background"].colour in texts.html
    assert len({cell.colour for cell in found.values()}) == len(found)
