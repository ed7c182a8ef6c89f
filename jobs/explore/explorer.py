"""What answers the explorer's requests: the database, pictures, the model, and every page."""

import importlib
import pkgutil
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from jobs.explore import pages
from jobs.explore.address import Address
from jobs.explore.database import Cursor, Database
from jobs.explore.model import Model
from jobs.explore.page import Later, Page, Panel, Route, State
from jobs.explore.pages.search import answers
from jobs.explore.pictures import Pictures
from jobs.explore.render import Renderer
from schemas.errors import UnknownName
from warehouse.files.layout import Warehouse

KEPT: Final = ("scan", "basis")


@dataclass(frozen=True)
class Explorer:
    """Everything that answers requests.

    Attributes:
        database: the published database.
        pictures: thumbnails, read again from the source.
        model: the scan's model, loaded when it is first needed.
        renderer: the templates.
        routes: the pages.
    """

    database: Database
    pictures: Pictures
    model: Model
    renderer: Renderer
    routes: tuple[Route, ...]

    @classmethod
    def over(cls, warehouse: Warehouse, eclip: Path | None = None) -> "Explorer":
        """Return an explorer of a warehouse, with projections for maps by ECLIP if there are any.

        Nothing is opened yet.
        """
        database = Database(warehouse)
        routes = page_routes()
        menu = [r for r in sorted(routes, key=lambda r: r.order) if r.menu is not None]
        return cls(
            database,
            Pictures(database),
            Model(warehouse, eclip),
            Renderer([(r.menu or "", r.name, r.path) for r in menu]),
            routes,
        )

    def page(self, route: Route, path: dict[str, str], query: dict[str, str]) -> str:
        """Return a page, or the one panel that `panel` names, as HTML.

        Raises:
            HeadAtlasError: nothing is published, or there is no such scan or panel.
        """
        with self.database.cursor() as cursor:
            state = self.state(cursor, path, query)
            page = route.make(state)
            if "panel" in query:
                return self.renderer.panel(_panel(page, state, query["panel"]), state)
            return self.renderer.page(self._deferred(page, route, state), state)

    def typed(self, query: dict[str, str]) -> str:
        """Return the answers to a typed text, or of the one head that `head` names, as a fragment.

        Raises:
            HeadAtlasError: as `page`; or the model that the text needs cannot be loaded.
        """
        with self.database.cursor() as cursor:
            state = self.state(cursor, {}, query)
            panels = answers(state, lambda text: self.model.text_vector(state.scan, text))
            if "head" in query:
                return self.renderer.panel(panels[0], state)
            return self.renderer.panels(panels, state)

    def state(
        self,
        cursor: Cursor,
        path: dict[str, str],
        query: dict[str, str],
        url: Address | None = None,
    ) -> State:
        """Return what a request asks, with the scan and basis that hold when none is named.

        Raises:
            UnknownName: there is no such scan or basis.
        """
        scans = cursor.ask("scans")
        names = [str(row["scan_id"]) for row in scans.rows]
        scan = query.get("scan") or (names[0] if names else "")
        if names and scan not in names:
            raise UnknownName.among("scan", scan, names)
        bases = [str(row["basis"]) for row in cursor.ask("bases", scan=scan).rows]
        basis = query.get("basis") or (bases[0] if bases else None)
        if query.get("basis") and basis not in bases:
            raise UnknownName.among("basis", basis, bases)
        kept = {name: query[name] for name in KEPT if query.get(name)}
        return State(cursor, scan, basis, path, query, url or Address(kept))

    def _deferred(self, page: Page, route: Route, state: State) -> Page:
        """Return the page with an address on each panel that is drawn after it."""
        here = [*_segments(route, state.path)]
        query = {k: v for k, v in state.query.items() if k not in KEPT}
        panels = tuple(
            Panel(
                key=panel.key,
                title=panel.title,
                template="later",
                context={"rows": panel.rows, "narrow": max(panel.rows, panel.narrow)},
                wide=panel.wide,
                rest=state.url(*here, **{**query, "panel": panel.key}),
            )
            if isinstance(panel, Later)
            else panel
            for panel in page.panels
        )
        return replace(page, panels=panels)


def _panel(page: Page, state: State, key: str) -> Panel:
    for panel in page.panels:
        if panel.key == key:
            return panel.make(state) if isinstance(panel, Later) else panel
    raise UnknownName.among("panel", key, [p.key for p in page.panels])


def _segments(route: Route, path: Any) -> list[str]:
    """Return the decoded segments of a page's path."""
    parts = [part for part in route.path.split("/") if part]
    return [path[p[1:-1].split(":")[0]] if p.startswith("{") else p for p in parts]


@lru_cache(maxsize=1)
def page_routes() -> tuple[Route, ...]:
    """Return every page's route: all `Route`s of all modules of `pages/`."""
    found: list[Route] = []
    for module in pkgutil.iter_modules(pages.__path__):
        loaded = importlib.import_module(f"{pages.__name__}.{module.name}")
        found += [value for value in vars(loaded).values() if isinstance(value, Route)]
    return tuple(found)
