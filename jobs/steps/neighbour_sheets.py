"""The contact sheet and the page of `headatlas nearest`: what was asked, and what was found."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from jobs.console import escaped
from jobs.steps.sheet import Tile, contact_sheet
from pipeline.pictures.decode import Decoding, Rejected, decode
from pipeline.sources.reader import Reader
from warehouse.files.atomic import write_bytes, write_text

if TYPE_CHECKING:
    from jobs.commands.nearest import NearestResult, Neighbour

THUMBNAIL = 128
# Characters of a tile's line.
LINE = 18
STYLE = (
    "body{font:14px sans-serif}figure{display:inline-block;margin:8px;width:150px;font-size:13px;"
    "text-align:center;vertical-align:top}figcaption{overflow-wrap:anywhere}"
)


def write_sheets(found: "NearestResult", png: Path | None, page: Path | None) -> None:
    """Write the sheet and the page that are asked for, each whole or not at all."""
    if png is None and page is None:
        return
    with Reader() as reader:
        asked = _asked(reader, found)
        pictures = [_stored(reader, n) for n in found.neighbours]
    title = f"nearest to {escaped(found.query)} by {', '.join(found.heads)}"
    if png is not None:
        tiles = [
            Tile(picture, f"{n.score:.3f} {escaped(n.label or '')}", _end(escaped(n.key)))
            for n, picture in zip(found.neighbours, pictures, strict=True)
        ]
        rows: list[tuple[str, Sequence[Tile]]] = [(title, tiles)]
        if asked is not None:
            rows.insert(0, ("asked", [Tile(asked, "", _end(escaped(found.query)))]))
        drawn = io.BytesIO()
        contact_sheet(rows, columns=max(4, min(10, len(tiles)))).save(drawn, format="PNG")
        write_bytes(png, drawn.getvalue())
    if page is not None:
        write_text(page, _page(title, found, asked, pictures))


def _page(
    title: str,
    found: "NearestResult",
    asked: Image.Image | None,
    pictures: Sequence[Image.Image],
) -> str:
    figures = [] if asked is None else [_figure(asked, "asked", found.query, None)]
    figures += [
        _figure(picture, f"{n.rank + 1}. {n.score:.3f}", n.key, n.label)
        for n, picture in zip(found.neighbours, pictures, strict=True)
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>{''.join(figures)}</html>\n"
    )


def _figure(picture: Image.Image, above: str, key: str, label: str | None) -> str:
    lines = [above, key, *([] if label is None else [label])]
    said = "<br>".join(html.escape(escaped(line)) for line in lines)
    return (
        f'<figure><img alt="{html.escape(escaped(key))}" '
        f'src="data:image/png;base64,{_base64(picture)}"><figcaption>{said}</figcaption></figure>'
    )


def _asked(reader: Reader, found: "NearestResult") -> Image.Image | None:
    """Return the picture that was asked with; None for a text."""
    if found.stored is not None:
        return _stored(reader, found.stored)
    if found.file is None:
        return None
    return _small(decode(found.file.read_bytes(), Decoding(on_white=True)))


def _stored(reader: Reader, picture: "Neighbour") -> Image.Image:
    """Read a stored picture again, small; a grey tile when it is not there any more."""
    try:
        data = reader.reread(picture.key, picture.uri, picture.fingerprint)
        return _small(decode(data, Decoding(on_white=True)))
    except Rejected:
        return Image.new("RGB", (THUMBNAIL, THUMBNAIL), "lightgrey")


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return picture


def _end(key: str) -> str:
    """Return a key's last characters, which tell pictures apart, as many as stand on a line."""
    return key if len(key) <= LINE else f"…{key[1 - LINE :]}"


def _base64(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
