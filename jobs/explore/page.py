"""What a page is made of: panels, each one statement's answer and how it is drawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.command import names_command
from jobs.explore.address import Address
from jobs.explore.database import Answer, Cursor


@dataclass(frozen=True)
class Panel:
    """One answer, shown.

    Attributes:
        key: its name within the page, as in `#texts`.
        title: its heading.
        template: `templates/panels/TEMPLATE.html`, which draws it.
        answer: what was asked and answered; None for a panel that asks nothing.
        context: what else the template needs, computed from the answer alone.
        empty: what to say, and the command that makes the result, when there are no rows.
        command: that command; None where this HeadAtlas has none of its name.
        wide: takes the page's whole width.
        tall: stands beside two others.
        rest: path and query to fetch this panel from, when it is drawn after the page.
        lead: one or two sentences under its heading.
        bare: holds panels of its own, which stand in its place.
    """

    key: str
    title: str
    template: str
    answer: Answer | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    empty: str = "nothing here yet"
    command: str | None = None
    wide: bool = False
    rest: str | None = None
    lead: str | None = None
    bare: bool = False
    tall: bool = False

    def __post_init__(self) -> None:
        """Name no command that does not exist."""
        if self.command is not None and not names_command(self.command):
            object.__setattr__(self, "command", None)


@dataclass(frozen=True)
class State:
    """What a request asks of a page, with everything that answers it.

    Attributes:
        cursor: reads the database.
        scan: the scan chosen; by default the database's.
        basis: the TextSpan basis chosen; None when the scan has none.
        path: the parts of the path that name something: a head, a key, a role.
        query: parameters of the URL.
        url: makes links that keep the scan and basis.
    """

    cursor: Cursor
    scan: str
    basis: str | None
    path: Mapping[str, str]
    query: Mapping[str, str]
    url: Address

    @property
    def roles_command(self) -> str:
        """The command that finds roles in the basis; where there is none, one stands for it."""
        return f"headatlas roles build --basis {self.basis or 'BASIS'} --scan {self.scan}"

    def shows(self, *panels: str) -> bool:
        """Whether any of these panels is asked for: by the whole page, or as the one wanted."""
        return self.query.get("panel", panels[0]) in panels

    def ask(self, name: str, **values: Any) -> Answer:
        """Run a page's statement; `scan` and `basis` are given to those that name them."""
        return self.cursor.ask(name, **{"scan": self.scan, "basis": self.basis, **values})


@dataclass(frozen=True)
class Later:
    """A panel that is drawn after the page.

    Attributes:
        key: as a panel's.
        title: as a panel's.
        make: how it is made.
        rows: of text, that room is kept for.
        wide: as a panel's.
        narrow: rows on a telephone, where that is more.
    """

    key: str
    title: str
    make: Callable[[State], Panel]
    rows: int = 6
    wide: bool = False
    narrow: int = 0


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: of the window and the heading.
        lead: one sentence under the heading.
        panels: in order.
        kind: which item of the navigation it belongs to.
        context: for the page's own header template, if it has one.
    """

    title: str
    panels: tuple[Panel | Later, ...]
    kind: str
    lead: str = ""
    header: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """A page's address and how it is made; `order` is its place in the navigation, if any."""

    path: str
    name: str
    make: Callable[[State], Page]
    menu: str | None = None
    order: int = 0
