"""Reading pages as a person does: their panels, the SQL they show, and what they say."""

import html
import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from html.parser import HTMLParser
from typing import Any

import duckdb
from starlette.testclient import TestClient

from warehouse.files.layout import Warehouse

_VOID = {"meta", "link", "input", "img", "br", "hr"}


@dataclass
class Element:
    """An element of a page: its name, attributes, and the text within it."""

    name: str
    attributes: dict[str, str]
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().name != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


def elements(text: str) -> list[Element]:
    """Return all elements of a page, in order."""
    reader = _Reader()
    reader.feed(text)
    return reader.elements


@dataclass(frozen=True)
class Shown:
    """A panel as it is shown; one that is drawn later is fetched when it is looked at."""

    key: str
    fetch: Callable[[], str]

    @cached_property
    def html(self) -> str:
        """The panel's HTML."""
        return self.fetch()

    @property
    def sql(self) -> str | None:
        """The SQL that it shows."""
        found = re.search(r"<summary>SQL</summary>\s*<pre[^>]*>(.*?)</pre>", self.html, re.DOTALL)
        return html.unescape(found[1]) if found else None

    @property
    def complaint(self) -> str | None:
        """What it says in place of an answer."""
        found = re.search(r'<p class="empty">(.*?)(</p>|<pre)', self.html, re.DOTALL)
        return html.unescape(found[1]).strip() if found else None

    @property
    def command(self) -> str | None:
        """The command that it says makes what is missing."""
        found = re.search(r'<pre class="command">(.*?)</pre>', self.html, re.DOTALL)
        return html.unescape(found[1]) if found else None

    @property
    def table(self) -> list[list[str]]:
        """The rows of its table, as texts."""
        rows = re.findall(r"<tr>(.*?)</tr>", self.html.split("<tbody>")[1], re.DOTALL)
        return [
            [
                html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
                for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
            ]
            for row in rows
        ]

    @property
    def chart(self) -> list[dict[str, Any]]:
        """The rows of its chart's data."""
        found = re.search(r'<script type="application/json">(.*?)</script>', self.html, re.DOTALL)
        assert found is not None, self.html
        values: list[dict[str, Any]] = json.loads(found[1])["data"]["values"]
        return values


def panels(client: TestClient, address: str) -> dict[str, Shown]:
    """Return a page's panels by key, those drawn later fetched as the browser does."""
    found = {}
    for part in re.split(r'(?=<section class="panel)', _got(client, address))[1:]:
        head = re.search(r'id="([^"]*)"', part)
        rest = re.search(r'data-rest="([^"]*)" aria-busy', part)
        assert head is not None
        key, body = html.unescape(head[1]), part.split("</section>")[0]
        later = None if rest is None else partial(_got, client, html.unescape(rest[1]))
        found[key] = Shown(key, later or partial(str, body))
    return found


def _got(client: TestClient, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.text[:300])
    return answer.text


def answers(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    """Return what a client without any code of ours gets for a statement."""
    with closing(duckdb.connect(str(warehouse.database.resolve()), read_only=True)) as con:
        found = con.sql(sql)
        return [] if found is None else found.to_arrow_table().to_pylist()
