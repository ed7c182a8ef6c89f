"""What changes under a reader: pictures that are gone, new versions, a warehouse that moves."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from jobs.explore.database import Database
from tests.jobs.explore.conftest import picture_file
from tests.jobs.explore.reading import panels
from tests.synthetic import write_scan
from warehouse.database.publish import publish
from warehouse.files.layout import Warehouse

KEY = "images/000001.png"


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


@pytest.mark.parametrize(
    ("many", "seconds"), [(2, 0), pytest.param(20, 60, marks=pytest.mark.slow)]
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
