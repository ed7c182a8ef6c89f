"""The explorer's application: routes, what a request is answered with, and nothing of any page."""

import importlib
import pkgutil
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as HttpRoute
from starlette.staticfiles import StaticFiles

from jobs.explore import pages
from jobs.explore.address import Address
from jobs.explore.database import Cursor, Database
from jobs.explore.downloads import download
from jobs.explore.guard import Guard
from jobs.explore.model import Model
from jobs.explore.page import Later, Page, Panel, Route, State
from jobs.explore.pages.search import answers
from jobs.explore.pictures import Pictures
from jobs.explore.render import Renderer
from schemas.errors import HeadAtlasError, UnknownName
from warehouse.files.layout import Warehouse

STATIC: Final = Path(__file__).parent / "static"
KEPT: Final = ("scan", "basis")


class Anything(Convertor[str]):
    """A part of a path that can hold any character: keys may have slashes, and lines."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        """Return the part as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Return the part as it is."""
        return value


register_url_convertor("any", Anything())
Handler = Callable[[Request], Awaitable[Response]]


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
    def over(cls, warehouse: Warehouse) -> "Explorer":
        """Return an explorer of a warehouse; nothing is opened yet."""
        database = Database(warehouse)
        routes = page_routes()
        menu = [r for r in sorted(routes, key=lambda r: r.order) if r.menu is not None]
        return cls(
            database,
            Pictures(database),
            Model(warehouse),
            Renderer([(r.menu or "", r.name, r.path) for r in menu]),
            routes,
        )

    def page(self, route: Route, path: dict[str, str], query: dict[str, str]) -> tuple[int, str]:
        """Return a page, or the one panel that `panel` names: its status and HTML.

        Raises:
            HeadAtlasError: nothing is published, or there is no such scan or panel.
        """
        with self.database.cursor() as cursor:
            state = self.state(cursor, path, query)
            page = route.make(state)
            if "panel" in query:
                return 200, self.renderer.panel(_panel(page, state, query["panel"]), state)
            return 200, self.renderer.page(self._deferred(page, route, state), state)

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
                context={"rows": panel.rows},
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


def application(explorer: Explorer, *, hosts: tuple[str, ...], token: str | None) -> Starlette:
    """Return the web application.

    Args:
        explorer: what answers.
        hosts: names under which it may be asked, against pages elsewhere that rebind a name.
        token: what every request must carry, once in the URL, then in a cookie; None on loopback.
    """

    def page(route: Route) -> Handler:
        async def handle(request: Request) -> Response:
            path = {k: str(v) for k, v in request.path_params.items()}
            query = dict(request.query_params)
            status, text = await run_in_threadpool(explorer.page, route, path, query)
            return HTMLResponse(text, status_code=status)

        return handle

    async def version(request: Request) -> Response:
        return JSONResponse({"version": await run_in_threadpool(explorer.database.version)})

    async def picture(request: Request) -> Response:
        found = await run_in_threadpool(
            explorer.pictures.read,
            request.path_params["scan"],
            request.path_params["image_id"],
            large=request.path_params["size"] == "large",
        )
        caching = {"Cache-Control": "private, max-age=600"} if found.there else {}
        return Response(found.data, media_type=found.media_type, headers=caching)

    async def file(request: Request) -> Response:
        kind = request.path_params["kind"]
        statement = request.query_params.get("q", "")
        return await run_in_threadpool(download, explorer.database, statement, kind)

    async def typed(request: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(_typed, explorer, dict(request.query_params)))

    async def heat(request: Request) -> Response:
        query = dict(request.query_params)
        return Response(
            await run_in_threadpool(explorer.model.heat_map, explorer.database, query),
            media_type="image/png",
        )

    async def methods(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(explorer.model.methods))

    async def vega(request: Request) -> Response:
        text = await run_in_threadpool(vega_bundle)
        return Response(
            text, media_type="text/javascript", headers={"Cache-Control": "private, max-age=86400"}
        )

    routes: list[Any] = [HttpRoute(r.path, page(r), name=r.name) for r in explorer.routes]
    routes += [
        HttpRoute("/version", version),
        HttpRoute("/{size:str}/{scan:str}/{image_id:int}.jpg", picture),
        HttpRoute("/download.{kind:str}", file),
        HttpRoute("/typed", typed),
        HttpRoute("/heat.png", heat),
        HttpRoute("/methods", methods),
        HttpRoute("/static/vega.js", vega),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]

    async def failed(request: Request, error: Exception) -> Response:
        status = 404 if isinstance(error, UnknownName) else 400
        if "panel" in request.query_params or request.url.path in ("/typed", "/heat.png"):
            return PlainTextResponse(str(error), status_code=status)
        return HTMLResponse(explorer.renderer.error(str(error)), status_code=status)

    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=hosts, token=token)],
        exception_handlers={HeadAtlasError: failed},
    )


def _typed(explorer: Explorer, query: dict[str, str]) -> str:
    """Return the answers to a typed text, as a fragment."""
    with explorer.database.cursor() as cursor:
        state = explorer.state(cursor, {}, query)
        panels = answers(state, lambda text: explorer.model.text_vector(state.scan, text))
        if "head" in query:
            return explorer.renderer.panel(panels[0], state)
        return explorer.renderer.panels(panels, state)


@lru_cache(maxsize=1)
def vega_bundle() -> str:
    """Return vega, vega-lite and vega-embed as one module, from the package that carries them."""
    import vl_convert

    text: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return text


def new_token() -> str:
    """Return a token for an explorer that other machines reach."""
    return secrets.token_urlsafe(18)
