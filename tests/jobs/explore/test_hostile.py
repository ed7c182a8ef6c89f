"""A warehouse full of markup: whatever pictures, labels and texts hold, pages show it as text."""

import json
from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest
from starlette.testclient import TestClient

from jobs.explore.serving import serving
from tests.jobs.explore.reading import elements
from tests.synthetic import Shape, write_basis, write_scan
from warehouse.database.publish import publish
from warehouse.files.layout import Warehouse
from warehouse.store.pools import write_pool

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE heads; --",
    "</script><script>alert(2)</script>",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "\x1b[31mred\x1b[0m [bold]markup[/bold]",
    "\u202egnp.exe\u202c right to left",
    "javascript:alert(3)",
    "a" * 10_000,
    "%2F..%2F?scan=x&basis=y#z",
    "new\nline\ttab",
    "émoji 🙂 ﷽",
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    root = tmp_path_factory.mktemp("hostile")
    shape = Shape((0, 1), 2, 3, 8, 12, shard_size=64)
    metadata = [json.dumps({"note <b>": text, "place": text}) for text in HOSTILE]
    names = [f"{i} {name}" for i, name in enumerate(HOSTILE)]
    scan = write_scan(root, "s", len(HOSTILE), shape, metadata=metadata, names=names)
    warehouse = Warehouse(root)
    write_pool(warehouse, "words", list(HOSTILE), list(HOSTILE), source="drawn", provenance={})
    write_basis(scan, HOSTILE)
    publish(warehouse)
    return warehouse


@pytest.fixture(scope="module")
def client(hostile: Warehouse, serve: Callable[[Warehouse], TestClient]) -> TestClient:
    return serve(hostile)


def pages() -> list[str]:
    key = quote(f"0 {HOSTILE[0]}", safe="")
    word = quote(HOSTILE[1], safe="")
    return [
        "/",
        "/head/L1H0",
        "/roles",
        f"/role/{word}",
        *(f"/picture/{quote(f'{i} {name}', safe='')}" for i, name in enumerate(HOSTILE[:8])),
        f"/picture/{key}",
        f"/search?text={word}",
        f"/?find={word}",
        f"/head/{word}",
        f"/sql?q={quote('FROM images', safe='')}",
        f"/sql?q={word}",
        f"/?scan={word}",
        f"/head/L1H0?picture={word}",
        f"/what-if/{word}?heads={word}&by={word}",
    ]


@pytest.mark.parametrize("page", pages())
def test_every_text_is_text(client: TestClient, page: str) -> None:
    answer = client.get(page)
    assert answer.status_code in (200, 400, 404)
    for element in elements(answer.text):
        assert element.name in ALLOWED, element
        if element.name == "script":
            assert element.attributes.get("src") == "/static/app.js" or (
                element.attributes == {"type": "application/json"} and json.loads(element.text)
            )
        for name, value in element.attributes.items():
            assert not name.startswith("on"), element
            if name in ("href", "src", "action"):
                assert value.startswith(("/", "#")), element
    assert "\x1b[31m" not in answer.text or "<bdi>" in answer.text


ALLOWED = {
    *("html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "main"),
    *("div", "h1", "h2", "p", "section", "dl", "dt", "dd", "table", "thead", "tbody", "tr"),
    *("th", "td", "form", "label", "select", "option", "input", "button", "textarea", "details"),
    *("summary", "pre", "code", "span", "b", "bdi", "ul", "ol", "li", "img", "footer"),
}


def test_links_lead_where_they_say(hostile: Warehouse) -> None:
    # over a socket: a test client without one decodes paths twice
    with serving(hostile) as address:
        for number, name in enumerate(HOSTILE):
            page = httpx.get(f"{address}/picture/{quote(f'{number} {name}', safe='')}")
            assert f"/large/s/{number}.jpg" in page.text, name
