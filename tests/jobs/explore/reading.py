"""Reading pages as a person does: their panels, the SQL they show, and what they say."""

import html
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from starlette.testclient import TestClient

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
    """A panel as it is shown."""

    key: str
    html: str

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
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.text[:300])
    found = {}
    for part in re.split(r'(?=<section class="panel)', answer.text)[1:]:
        head = re.search(r'id="([^"]*)"', part)
        rest = re.search(r'data-rest="([^"]*)" aria-busy', part)
        assert head is not None
        key, body = html.unescape(head[1]), part.split("</section>")[0]
        if rest is not None:
            fetched = client.get(html.unescape(rest[1]))
            assert fetched.status_code == 200, (rest[1], fetched.text[:300])
            body = fetched.text
        found[key] = Shown(key, body)
    return found
