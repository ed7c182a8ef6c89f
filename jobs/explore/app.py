"""The explorer's application: what is answered at which address, and nothing of any page."""

import secrets
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as HttpRoute
from starlette.staticfiles import StaticFiles

from jobs.explore.downloads import download
from jobs.explore.explorer import Explorer
from jobs.explore.guard import Guard
from jobs.explore.page import Route
from jobs.explore.readiness import prepare
from schemas.errors import HeadAtlasError, UnknownName

STATIC: Final = Path(__file__).parent / "static"


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


def application(explorer: Explorer, *, hosts: tuple[str, ...], token: str | None) -> Starlette:
    """Return the web application; what it answers is found in threads, several at once.

    Args:
        explorer: what answers.
        hosts: names under which it may be asked, against pages elsewhere that rebind a name.
        token: what every request must carry, once in the URL, then in a cookie; None on loopback.
    """
    routes: list[Any] = [
        HttpRoute(route.path, partial(_page, explorer, route), name=route.name)
        for route in explorer.routes
    ]
    routes += [HttpRoute(path, partial(answer, explorer)) for path, answer in ANSWERS.items()]
    routes.append(Mount("/static", StaticFiles(directory=STATIC)))
    return Starlette(
        routes=routes,
        lifespan=partial(_prepared, explorer),
        middleware=[Middleware(Guard, hosts=hosts, token=token)],
        exception_handlers={HeadAtlasError: partial(_failed, explorer)},
    )


@asynccontextmanager
async def _prepared(explorer: Explorer, app: Starlette) -> AsyncIterator[None]:
    """Get ready for later pages while the first is looked at; end no sooner, as imports must."""
    preparing = threading.Thread(target=prepare, args=(explorer,))
    preparing.start()
    yield
    preparing.join()


def _page(explorer: Explorer, route: Route, request: Request) -> Response:
    path = {name: str(value) for name, value in request.path_params.items()}
    shown = explorer.page(route, path, dict(request.query_params))
    return HTMLResponse(shown)


def _typed(explorer: Explorer, request: Request) -> Response:
    return HTMLResponse(explorer.typed(dict(request.query_params)))


def _picture(explorer: Explorer, request: Request) -> Response:
    at = request.path_params
    found = explorer.pictures.read(at["scan"], at["image_id"], large=at["size"] == "large")
    kept = {"Cache-Control": "private, max-age=600"} if found.there else {}
    return Response(found.data, media_type=found.media_type, headers=kept)


def _heat(explorer: Explorer, request: Request) -> Response:
    drawn = explorer.model.heat_map(explorer.database, dict(request.query_params))
    return Response(drawn, media_type="image/png")


def _methods(explorer: Explorer, request: Request) -> Response:
    return JSONResponse(explorer.model.methods())


def _file(explorer: Explorer, request: Request) -> Response:
    statement = request.query_params.get("q", "")
    return download(explorer.database, statement, request.path_params["kind"])


def _version(explorer: Explorer, request: Request) -> Response:
    return JSONResponse({"version": explorer.database.version()})


def _vega(explorer: Explorer, request: Request) -> Response:
    kept = {"Cache-Control": "private, max-age=86400"}
    return Response(vega_bundle(), media_type="text/javascript", headers=kept)


ANSWERS: Final = {
    "/typed": _typed,
    "/{size:str}/{scan:str}/{image_id:int}.jpg": _picture,
    "/heat.png": _heat,
    "/methods": _methods,
    "/download.{kind:str}": _file,
    "/version": _version,
    "/static/vega.js": _vega,
}
"""What is answered besides pages and files that never change."""


def _failed(explorer: Explorer, request: Request, error: Exception) -> Response:
    """Say what is wrong: to a person as a page, to a page that asks for a part as its text."""
    status = 404 if isinstance(error, UnknownName) else 400
    if "panel" in request.query_params or request.url.path in ("/typed", "/heat.png"):
        return PlainTextResponse(str(error), status_code=status)
    return HTMLResponse(explorer.renderer.error(str(error)), status_code=status)


@lru_cache(maxsize=1)
def vega_bundle() -> str:
    """Return vega, vega-lite and vega-embed as one module, from the package that carries them."""
    import vl_convert

    text: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return text


def new_token() -> str:
    """Return a token for an explorer that other machines reach."""
    return secrets.token_urlsafe(18)
