"""Texts are asked of the whole embedding and of strong heads; those of a pool need no model."""

from urllib.parse import quote

import numpy as np
from starlette.testclient import TestClient

from jobs.explore.app import application
from jobs.explore.explorer import Explorer
from jobs.steps.opened import open_scan
from schemas.names import head_name, parse_head
from tests.jobs.explore.reading import answers, panels
from warehouse.files.layout import Warehouse
from warehouse.store.reading import read_head

TEXT = "a photo of a red thing"


def test_a_text_of_a_pool_needs_no_model(explored: Warehouse) -> None:
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


def test_a_typed_text_is_asked_of_the_whole_and_of_each_strong_head(explored: Warehouse) -> None:
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
