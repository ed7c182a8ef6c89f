"""A circuit as an SVG: components in rows, by layer from below; edges as wide as their shares.

Heads of a layer read what stands below and write for what stands above; what is no head stands in a
column of its own at the right, an MLP half a row over the heads of its layer. A dashed edge has a
negative share: without it the head would vary more.
"""

from collections.abc import Mapping, Sequence
from html import escape

from jobs.commands.circuit import CircuitResult
from jobs.steps.circuit_names import name_of
from jobs.steps.whatif import Head
from pipeline.heads.circuits import Drawn
from pipeline.heads.edge_source import Source

# Pixels: of a box, between boxes, between rows, of the margins.
BOX, TALL, GAP, ROW, MARGIN, LEFT = 104, 34, 26, 92, 24, 72
# Shares are written at so many of the strongest edges into each head.
WRITTEN = 3
PLUS, MINUS, TARGET, HEAD, OTHER = "#3b6ea5", "#b5493a", "#f3d98b", "#ffffff", "#ececec"
Place = tuple[float, float]


def svg(
    done: CircuitResult,
    found: Sequence[Drawn],
    targets: Sequence[Head],
    roles: Mapping[Head, Sequence[str]],
) -> str:
    """Return the drawing.

    Args:
        done: what is said above and below it.
        found: the edges, the strongest first.
        targets: the heads that they lead to.
        roles: of heads, where they have one.
    """
    layers = _layers(found, targets)
    places = _places(layers, found)
    width = max(x for x, _ in places.values()) + BOX / 2 + MARGIN
    height = max(y for _, y in places.values()) + TALL / 2 + 2 * MARGIN + 40
    title = f"Strongest paths into {_some(done.targets)}, scan {done.scan}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="{MARGIN + 10}" font-size="15" font-weight="600">'
        f"{escape(title)}</text>",
    ]
    for number, layer in enumerate(layers):
        y = _row(number) + 4
        name = "enters" if layer is None else f"layer {layer}"
        parts.append(f'<text x="{MARGIN}" y="{y:.0f}" fill="#666">{name}</text>')
    written = _written(found)
    lines = [_edge(one, places, one in written) for one in reversed(found)]
    parts += [path for path, _ in lines]
    parts += [
        _box(node, places[node], node in {_head(t) for t in targets}, roles) for node in places
    ]
    parts += [label for _, label in lines]
    said = _said(done)
    parts += [
        f'<text x="{MARGIN}" y="{height - MARGIN - 18 * (len(said) - 1 - i)}" fill="#333">'
        f"{escape(line)}</text>"
        for i, line in enumerate(said)
    ]
    return "\n".join([*parts, "</svg>", ""])


def _said(done: CircuitResult) -> list[str]:
    beside = ""
    if done.control_mean is not None and done.control_sd is not None:
        beside = (
            f"; {len(done.control)} random sets of as many heads of the same layers: "
            f"{done.control_mean:.1%} ± {done.control_sd:.1%}"
        )
    return [
        "Width and per cent: share of the reading head's variance; dashed: negative.",
        f"Read directly of the heads drawn: {done.carried:.1%}{beside}.",
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _head(head: Head) -> Source:
    return Source("head", *head)


def _row(number: int) -> float:
    """Return the middle of a row, from above."""
    return MARGIN + 64 + number * ROW + TALL / 2


def _layers(found: Sequence[Drawn], targets: Sequence[Head]) -> dict[int | None, list[Source]]:
    """Return the components of each layer, from above; those of none are last."""
    nodes = dict.fromkeys(_head(target) for target in targets)
    for one in found:
        nodes |= dict.fromkeys((_head(one.edge.target), one.edge.source))
    numbers = sorted({n.layer for n in nodes if n.layer is not None}, reverse=True)
    order: list[int | None] = [*numbers, *([None] if any(n.layer is None for n in nodes) else [])]
    return {layer: sorted((n for n in nodes if n.layer == layer), key=str) for layer in order}


def _places(
    layers: Mapping[int | None, Sequence[Source]], found: Sequence[Drawn]
) -> dict[Source, Place]:
    """Return the middle of each box; heads are ordered by where what they feed stands."""
    step = BOX + GAP
    heads = {layer: [n for n in row if n.kind == "head"] for layer, row in layers.items()}
    widest = max(3, *(len(row) for row in heads.values()))
    places: dict[Source, Place] = {}
    for number, (layer, row) in enumerate(layers.items()):
        wanted = {}
        for node in heads[layer]:
            fed = [places.get(_head(one.edge.target)) for one in found if one.edge.source == node]
            known = [place[0] for place in fed if place is not None]
            wanted[node] = sum(known) / len(known) if known else 0.0
        start = LEFT + (widest - len(wanted)) * step / 2 + step / 2
        for at, node in enumerate(sorted(wanted, key=lambda n: (wanted[n], str(n)))):
            places[node] = (start + at * step, _row(number))
        others = [node for node in row if node.kind != "head"]
        for at, node in enumerate(others):
            x = LEFT + widest * step + GAP + step * (at + 0.5)
            places[node] = (x, _row(number) - (0 if layer is None else ROW / 2))
    return places


def _written(found: Sequence[Drawn]) -> set[Drawn]:
    """Return the edges whose share is written: the strongest into each head."""
    kept: set[Drawn] = set()
    for one in found:
        if sum(other.edge.target == one.edge.target for other in kept) < WRITTEN:
            kept.add(one)
    return kept


def _edge(one: Drawn, places: Mapping[Source, Place], written: bool) -> tuple[str, str]:
    """Return the line of an edge, and the text on it."""
    (x1, y1), (x2, y2) = places[one.edge.source], places[_head(one.edge.target)]
    y1, y2 = y1 - TALL / 2, y2 + TALL / 2
    bend = max(24.0, (y1 - y2) * 0.45)
    # an edge that passes other rows swings out, past their boxes
    swing = 0.0 if y1 - y2 < ROW or abs(x1 - x2) > BOX else 18 * (y1 - y2) / ROW
    share = one.edge.share
    colour, dash = (MINUS, ' stroke-dasharray="6 4"') if share < 0 else (PLUS, "")
    stroke = 0.8 + 7 * min(abs(share), 1.0) ** 0.5
    names = f"{name_of(one.edge.source)} to {name_of(_head(one.edge.target))}"
    controls = ((x1 - swing, y1 - bend), (x2 - swing, y2 + bend))
    path = (
        f'<path d="M{x1:.1f} {y1:.1f} C{controls[0][0]:.1f} {controls[0][1]:.1f} '
        f'{controls[1][0]:.1f} {controls[1][1]:.1f} {x2:.1f} {y2:.1f}" fill="none" '
        f'stroke="{colour}" stroke-opacity=".6" stroke-width="{stroke:.1f}"{dash}>'
        f"<title>{names}: {share:.1%} of its variance; path {one.strength:.1%}</title></path>"
    )
    if not written:
        return path, ""
    # a quarter of the way from the source, where edges into one head have not met yet
    t = 0.3
    x = (
        (1 - t) ** 3 * x1
        + 3 * (1 - t) ** 2 * t * controls[0][0]
        + 3 * (1 - t) * t**2 * controls[1][0]
        + t**3 * x2
    )
    y = (
        (1 - t) ** 3 * y1
        + 3 * (1 - t) ** 2 * t * controls[0][1]
        + 3 * (1 - t) * t**2 * controls[1][1]
        + t**3 * y2
    )
    label = (
        f'<text x="{x:.1f}" y="{y + 4:.1f}" font-size="11" text-anchor="middle" fill="{colour}" '
        f'stroke="#fff" stroke-width="3" paint-order="stroke">{share:.0%}</text>'
    )
    return path, label


def _box(node: Source, place: Place, wanted: bool, roles: Mapping[Head, Sequence[str]]) -> str:
    x, y = place
    of: Sequence[str] = ()
    if node.layer is not None and node.head is not None:
        of = roles.get((node.layer, node.head), ())
    fill = TARGET if wanted else HEAD if node.kind == "head" else OTHER
    radius = 8 if node.kind == "head" else 1
    name, role = escape(name_of(node)), escape(", ".join(of))
    shown = role if len(role) <= 16 else f"{role[:15]}…"
    lines = (
        f'<text x="{x:.0f}" y="{y - 2:.0f}" text-anchor="middle" font-weight="600">{name}</text>'
        f'<text x="{x:.0f}" y="{y + 12:.0f}" text-anchor="middle" font-size="10" fill="#555">'
        f"{shown}</text>"
        if shown
        else f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle" font-weight="600">'
        f"{name}</text>"
    )
    return (
        f"<g><title>{name}{': ' + role if role else ''}</title>"
        f'<rect x="{x - BOX / 2:.0f}" y="{y - TALL / 2:.0f}" width="{BOX}" height="{TALL}" '
        f'rx="{radius}" fill="{fill}" stroke="#444"/>{lines}</g>'
    )
