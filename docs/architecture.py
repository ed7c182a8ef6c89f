"""Draw docs/images/architecture.svg from the imports, and write docs/architecture.md around it.

A room is a package inside one of the six packages; its line is the first of its docstring. An arrow
from one room to another means that some module of the first imports some module of the second.
"""

import ast
import html
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
# From the top down, as import-linter has them; those of one line do not know each other.
LAYERS = (("headatlas",), ("jobs",), ("demo",), ("pipeline", "warehouse"), ("schemas",))
WIDE, ROOM, TALL, GAP, HEAD, MARGIN = 1180, 132, 40, 10, 44, 16
FILLS = {
    "headatlas": "#f3e8ff",
    "jobs": "#e0ecff",
    "demo": "#f1f5f9",
    "pipeline": "#dcfce7",
    "warehouse": "#fef3c7",
    "schemas": "#ffe4e6",
}
HEAD_TEXT = """# Architecture

*Drawn by `make architecture` (and by `make docs`) from the imports themselves.*

![Packages and rooms, and which imports which](images/architecture.svg)

Imports go down only. `schemas` says what is stored and how it is called; `pipeline` computes and
knows no database; `warehouse` keeps and answers and knows no torch; `jobs` runs both, and is
alone in knowing Ray; `headatlas` is the door for Python.

**One picture's bytes, from source to page.** A format of `pipeline/sources` lists it as a member
and reads it; `pipeline/pictures` decodes it; a tower of `pipeline/towers` is walked by
`pipeline/heads`, which turns it into one short vector a head; a worker of `jobs/workers` hands a
shard of them to `warehouse/store`, which commits it in a snapshot; `warehouse/database` publishes
views over it; and `jobs/steps` reads the picture again, by what was kept of its source, to show
it on a page.

**One text, from pool to SQL.** `pipeline/texts` reads or builds a pool, `warehouse/store` keeps
it, a tower embeds it, `pipeline/heads` picks it for a head (TextSpan), `schemas/results` says
which table it lands in, and a macro of `schemas/macros` finds it again.

What is added again and again is one new file, found by its registry: see
[CONTRIBUTING](../CONTRIBUTING.md).

"""


def rooms() -> dict[str, list[str]]:
    """Return the rooms of each package: its packages, in the order of their names."""
    return {
        package: sorted(
            f"{package}.{path.parent.name}" for path in (ROOT / package).glob("*/__init__.py")
        )
        for layer in LAYERS
        for package in layer
    }


def doors() -> set[tuple[str, str]]:
    """Return which room imports which; a module that lies in no room counts for its package."""
    known = rooms()
    graph = grimp.build_graph(*known, cache_dir=None)

    def room_of(module: str) -> str:
        package = module.partition(".")[0]
        inner = ".".join(module.split(".")[:2])
        return inner if inner in known[package] else package

    pairs = (
        (room_of(module), room_of(used))
        for module in graph.modules
        for used in graph.find_modules_directly_imported_by(module)
    )
    return {(one, other) for one, other in pairs if one != other}


def page() -> str:
    """Return docs/architecture.md."""
    lines = [HEAD_TEXT, "| room | what is in it |", "|---|---|"]
    for package, inner in rooms().items():
        lines += [f"| `{name.replace('.', '/')}` | {_said(name)} |" for name in (package, *inner)]
    return "\n".join(lines) + "\n"


def picture() -> str:
    """Return the drawing, as SVG."""
    boxes, frames, height = _places()
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {height}" '
        f'font-family="sans-serif" role="img" aria-label="Packages and which imports which">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0 0 8 4 0 8z" fill="#475569"/></marker></defs>',
        f'<rect width="{WIDE}" height="{height}" fill="white"/>',
    ]
    for package, (x, y, wide, tall) in frames.items():
        drawn += [
            f'<rect x="{x}" y="{y}" width="{wide}" height="{tall}" rx="8" fill="{FILLS[package]}" '
            'stroke="#94a3b8"/>',
            f'<text x="{x + 12}" y="{y + 20}" font-size="15" font-weight="bold">{package}</text>',
            f'<text x="{x + 12}" y="{y + 36}" font-size="11" fill="#475569">'
            f"{html.escape(_cut(_said(package), (wide - 20) // 6))}</text>",
        ]
    for one, other in sorted(doors()):
        if one in boxes and other in boxes:
            drawn.append(_arrow(boxes[one], boxes[other]))
    for name, (x, y) in boxes.items():
        if "." in name:
            drawn += [
                f'<rect x="{x}" y="{y}" width="{ROOM}" height="{TALL}" rx="5" fill="white" '
                f'stroke="#64748b"><title>{html.escape(_said(name))}</title></rect>',
                f'<text x="{x + ROOM / 2:.0f}" y="{y + 25}" font-size="13" text-anchor="middle">'
                f"{name.partition('.')[2]}</text>",
            ]
    return "\n".join([*drawn, "</svg>"]) + "\n"


Box = tuple[int, int]


def _places() -> tuple[dict[str, Box], dict[str, tuple[int, int, int, int]], int]:
    """Return where rooms and packages lie, and how tall the drawing is."""
    boxes: dict[str, Box] = {}
    frames: dict[str, tuple[int, int, int, int]] = {}
    known, y = rooms(), MARGIN
    for layer in LAYERS:
        x, tallest = MARGIN, 0
        total = sum(max(1, len(known[p])) for p in layer)
        for package in layer:
            inner = known[package]
            share = max(1, len(inner)) / total
            wide = int((WIDE - MARGIN * (len(layer) + 1)) * share)
            across = max(1, (wide - GAP) // (ROOM + GAP))
            rows = -(-len(inner) // across)
            for i, name in enumerate(inner):
                place = i % across, i // across
                boxes[name] = (
                    x + GAP + place[0] * (ROOM + GAP),
                    y + HEAD + place[1] * (TALL + 2 * GAP),
                )
            tall = HEAD + rows * (TALL + 2 * GAP) + (0 if rows else 4)
            frames[package] = (x, y, wide, tall)
            x, tallest = x + wide + MARGIN, max(tallest, tall)
        y += tallest + 2 * MARGIN
    return boxes, frames, y - MARGIN


def _arrow(one: Box, other: Box) -> str:
    """Return a line from a room's lower edge, or its side, to the other's upper edge, or side."""
    (x, y), (u, v) = one, other
    if v > y + TALL:
        start, end = (x + ROOM // 2, y + TALL), (u + ROOM // 2, v)
        bend = f"C{start[0]} {start[1] + 40} {end[0]} {end[1] - 40} {end[0]} {end[1]}"
    elif v + TALL < y:
        start, end = (x + ROOM // 2, y), (u + ROOM // 2, v + TALL)
        bend = f"C{start[0]} {start[1] - 12} {end[0]} {end[1] + 12} {end[0]} {end[1]}"
    else:
        down = TALL // 2 + (8 if x < u else -8)
        start = (x + ROOM if x < u else x, y + down)
        end = (u if x < u else u + ROOM, v + down)
        lift = start[1] + (26 if abs(x - u) > ROOM + GAP else 0) * (1 if x < u else -1)
        bend = f"C{start[0]} {lift} {end[0]} {lift} {end[0]} {end[1]}"
    return (
        f'<path d="M{start[0]} {start[1]} {bend}" fill="none" stroke="#475569" '
        'stroke-opacity=".35" marker-end="url(#tip)"/>'
    )


def _said(name: str) -> str:
    """Return the first sentence of a package's docstring."""
    path = ROOT.joinpath(*name.split(".")) / "__init__.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def pages() -> dict[Path, str]:
    """Return the page and the drawing by their paths."""
    return {
        ROOT / "docs/architecture.md": page(),
        ROOT / "docs/images/architecture.svg": picture(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
