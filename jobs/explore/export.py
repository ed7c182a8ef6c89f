"""`headatlas explore --export`: the same pages as files, through the application itself.

What needs a server (forms, downloads, maps, typed texts) says so in the page. Every link that a
page makes is followed; pictures' pages up to a number, the ones that other pages show first.
"""

import hashlib
import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from jobs.explore.address import Address, parameters
from jobs.explore.app import STATIC, vega_bundle
from jobs.explore.explorer import KEPT, Explorer
from jobs.explore.page import Later, Page, Route
from schemas.names import safe_name
from schemas.written import ASSETS, DRAWN, LEFT_OUT
from warehouse.files.atomic import write_bytes, write_text

Target = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]


@dataclass
class Site:
    """What has been asked for so far.

    Attributes:
        most_pictures: pictures that may have a page of their own.
        pages: file name of each target, in the order met.
        queue: targets that are not written yet.
        drawn: pictures that pages show: scan, image_id and size.
    """

    most_pictures: int
    pages: dict[Target, str] = field(default_factory=dict)
    queue: deque[Target] = field(default_factory=deque)
    drawn: set[tuple[str, int, str]] = field(default_factory=set)

    def name(self, target: Target) -> str:
        """Return a target's file, to be written later; past the limit, that of what is left out."""
        if target in self.pages:
            return self.pages[target]
        path, query = target
        if path and path[0] == "picture":
            if sum(p[0][:1] == ("picture",) for p in self.pages) >= self.most_pictures:
                return LEFT_OUT
        words = [*path, *(value for _, value in query)]
        said = "-".join(safe_name(word)[:60] for word in words)
        if said != "-".join(words):
            # a key can hold anything: letters of it, and a digest that keeps two apart
            said += f"-{hashlib.sha256(repr(target).encode()).hexdigest()[:8]}"
        self.pages[target] = f"{said}.html" if words else "index.html"
        self.queue.append(target)
        return self.pages[target]


@dataclass(frozen=True)
class FileAddress(Address):
    """Links between files of one folder."""

    site: Site = field(default_factory=lambda: Site(0))
    live: ClassVar[bool] = False

    def __call__(self, *path: str, **query: Any) -> str:
        """Return the file of a page; states beyond scan and basis need a server."""
        given = parameters({**self.kept, **{k: v for k, v in query.items() if k in KEPT}})
        return self.site.name((path, tuple(sorted(given.items()))))

    def of(self, scan: str) -> str:
        """Return the file of a scan's atlas."""
        return self.site.name(((), (("scan", scan),)))

    def static(self, name: str) -> str:
        """Return the file that is the same for every page."""
        return f"{ASSETS}/{name}"

    def picture(self, scan: str, image_id: int, size: str = "thumb") -> str:
        """Return a picture's file, to be drawn later."""
        self.site.drawn.add((scan, image_id, size))
        return _picture_file(scan, image_id, size)


def _picture_file(scan: str, image_id: int, size: str) -> str:
    return f"{DRAWN}/{size}/{safe_name(scan)}-{image_id}.jpg"


def export(explorer: Explorer, folder: Path, *, most_pictures: int) -> int:
    """Write the pages into a folder; return their number.

    Raises:
        UsageError: nothing is published.
    """
    site = Site(most_pictures)
    for route in sorted(explorer.routes, key=lambda r: r.order):
        if route.menu is not None:
            site.name((_words(route.path), ()))
    count = 0
    while site.queue:
        target = site.queue.popleft()
        text = _page(explorer, target, site)
        write_text(folder / site.pages[target], text)
        count += 1
    write_text(
        folder / LEFT_OUT,
        explorer.renderer.error(
            "This picture has no page in the export; headatlas explore shows them all.",
            FileAddress(site=site),
        ),
    )
    for scan, image_id, size in sorted(site.drawn):
        drawn = explorer.pictures.read(scan, image_id, large=size == "large")
        write_bytes(folder / _picture_file(scan, image_id, size), drawn.data)
    shutil.copytree(STATIC, folder / ASSETS, dirs_exist_ok=True)
    write_text(folder / ASSETS / "vega.js", vega_bundle())
    return count


def _words(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


def _page(explorer: Explorer, target: Target, site: Site) -> str:
    """Return a page with its later panels drawn at once."""
    words, query = target
    route, path = _route(explorer.routes, words)
    with explorer.database.cursor() as cursor:
        state = explorer.state(cursor, dict(path), dict(query), FileAddress(dict(query), site))
        page = route.make(state)
        panels = tuple(p.make(state) if isinstance(p, Later) else p for p in page.panels)
        return explorer.renderer.page(
            Page(page.title, panels, page.kind, page.lead, page.header, page.context), state
        )


def _route(routes: tuple[Route, ...], words: tuple[str, ...]) -> tuple[Route, Mapping[str, str]]:
    """Return the route that a path is of, and what its braces stand for."""
    for route in routes:
        parts = _words(route.path)
        if len(parts) == len(words) and all(
            part.startswith("{") or part == word for part, word in zip(parts, words, strict=True)
        ):
            pairs = zip(parts, words, strict=True)
            return route, {p[1:-1].split(":")[0]: w for p, w in pairs if p.startswith("{")}
    raise LookupError(words)
