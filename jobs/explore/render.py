"""Templates: pages and panels to HTML, everything escaped."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from jobs.explore.address import Address
from jobs.explore.page import Page, Panel, State
from jobs.explore.scales import gradient
from schemas.errors import UsageError
from schemas.names import parse_head

TEMPLATES: Final = Path(__file__).parent / "templates"
LONGEST: Final = 400
LONGEST_LIST: Final = 8


class Renderer:
    """The templates, with the navigation that every page has."""

    def __init__(self, menu: Sequence[tuple[str, str, str]]) -> None:
        """Prepare the templates; `menu` holds each item's title, page name and path."""
        self._menu = menu
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "say": say,
            "script": _script,
            "short": short,
            "percent": percent,
            "capitalize_first": _first,
            "is_head": is_head,
            "paired": paired,
        }
        self._templates.globals["gradient"] = gradient()

    def compile(self) -> None:
        """Compile every template, which its first use would otherwise wait for."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def page(self, page: Page, state: State) -> str:
        """Return a whole page."""
        scans = [str(r["scan_id"]) for r in state.ask("scans").rows]
        bases = [str(r["basis"]) for r in state.ask("bases").rows]
        return self._templates.get_template("page.html").render(
            page=page,
            state=state,
            url=state.url,
            menu=self._links(state.url),
            scans=scans,
            bases=bases,
        )

    def panel(self, panel: Panel, state: State) -> str:
        """Return one panel's inside, as it is fetched after its page."""
        return self._templates.get_template("panel.html").render(
            panel=panel, state=state, url=state.url
        )

    def panels(self, panels: Sequence[Panel], state: State) -> str:
        """Return some panels, as they stand in a page."""
        return self._templates.get_template("panels.html").render(
            panels=panels, state=state, url=state.url
        )

    def error(self, message: str, url: Address | None = None) -> str:
        """Return a page that says what is wrong."""
        url = url or Address()
        return self._templates.get_template("error.html").render(
            message=message, url=url, menu=self._links(url)
        )

    def _links(self, url: Address) -> list[tuple[str, str, str]]:
        return [
            (title, name, url(*[part for part in path.split("/") if part]))
            for title, name, path in self._menu
        ]


def say(value: Any) -> str:
    """Return a value as a table shows it: numbers to four digits, lists joined, no value a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        more = f" … {len(value):,} in all" if len(value) > LONGEST_LIST else ""
        return short(" · ".join(say(v) for v in value[:LONGEST_LIST])) + more
    if isinstance(value, dict):
        return short(json.dumps(value, ensure_ascii=False, default=str))
    return short(str(value))


def short(text: str, most: int = LONGEST) -> str:
    """Return a text, cut with an ellipsis when it is longer than `most`."""
    return text if len(text) <= most else text[: most - 1] + "…"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share in percent; a dash of none."""
    return "–" if value is None else f"{value:.{digits}%}"


def paired(panels: Sequence[Panel]) -> list[Panel]:
    """Return panels in two columns without holes: one that is left alone in its row is wide."""
    found: list[Panel] = []
    run = 0
    for index, panel in enumerate(panels):
        run = 0 if panel.wide else run + 1 + panel.tall
        alone = run % 2 == 1 and all(following.wide for following in panels[index + 1 : index + 2])
        found.append(replace(panel, wide=True) if alone else panel)
    return found


def is_head(name: str) -> bool:
    """Whether this is a head's name, as L22H11, and not that of another component."""
    try:
        parse_head(name)
    except UsageError:
        return False
    return True


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _script(value: Any) -> Markup:
    """Return JSON that can stand inside a script element."""
    text = json.dumps(value, default=str)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
