"""Addresses of pages: every state of a page is in its URL, and only what is not the default."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import quote, urlencode


@dataclass(frozen=True)
class Address:
    """Where links of a page lead.

    Attributes:
        kept: parameters that go along from page to page: the scan and basis chosen.
        live: whether a server answers: forms, SQL downloads and maps need one.
    """

    kept: Mapping[str, str] = field(default_factory=dict)
    live: ClassVar[bool] = True

    def __call__(self, *path: str, **query: Any) -> str:
        """Return the URL of a page: segments of its path, and its parameters.

        A parameter that is None, empty or False is left out; a sequence is joined by commas.
        """
        said = parameters({**self.kept, **query})
        head = "/" + "/".join(quote(segment, safe="") for segment in path)
        return f"{head}?{urlencode(said)}" if said else head

    def static(self, name: str) -> str:
        """Return the URL of a file that is the same for every page."""
        return f"/static/{name}"

    def picture(self, scan: str, image_id: int, size: str = "thumb") -> str:
        """Return the URL of a picture: `thumb` or `large`."""
        return f"/{size}/{quote(scan, safe='')}/{image_id}.jpg"

    def answer(self, kind: str, sql: str) -> str:
        """Return the URL of a statement's answer as a file, `csv` or `parquet`."""
        return f"/download.{kind}?{urlencode({'q': sql})}"

    def heat(self, **query: Any) -> str:
        """Return the URL of a heat map."""
        return f"/heat.png?{urlencode(parameters({**self.kept, **query}))}"


def parameters(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that say something, as texts."""
    return {
        name: ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        for name, value in given.items()
        if value not in (None, "", False, (), [])
    }
