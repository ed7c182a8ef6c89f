"""The grid of layers and heads: one cell a head, coloured by a number or a name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobs.explore.scales import Cell, name_colours, shade

LONGEST: Final = 12


@dataclass(frozen=True)
class Measure:
    """A number, or a name, that every head has.

    Attributes:
        column: of the answer.
        title: in words.
        form: a format for `format()`; `name` for a text.
        reverse: whether less is more.
    """

    column: str
    title: str
    form: str
    reverse: bool = False

    def say(self, value: Any) -> str:
        """Return the value as it is shown; a dash of none."""
        if value is None:
            return "–"
        if self.form == "name":
            return str(value)
        # z: no minus before a number that rounds to 0
        return format(value, f"z{self.form}")


@dataclass(frozen=True)
class Square:
    """A head's cell."""

    name: str
    said: str
    tip: str
    cell: Cell | None


@dataclass(frozen=True)
class Grid:
    """All cells, from the last layer down to the first, with what the legend says.

    Attributes:
        rows: a layer's number, and its squares by head; None where a head is not stored.
        heads: numbers of the columns.
        low: text at the legend's left end; None for names.
        high: at its right end.
        names: each name's colour, for names.
    """

    rows: tuple[tuple[int, tuple[Square | None, ...]], ...]
    heads: tuple[int, ...]
    low: str | None
    high: str | None
    names: Mapping[str, Cell]

    @property
    def letters(self) -> int:
        """How many letters the longest text in a cell has, of those shown."""
        said = (len(square.said) for _, row in self.rows for square in row if square is not None)
        return min(max(said, default=1), LONGEST)


def grid_of(rows: Sequence[Mapping[str, Any]], by: Measure) -> Grid:
    """Lay heads out by layer and head, coloured by `by`."""
    values = [row[by.column] for row in rows if row.get(by.column) is not None]
    names = name_colours([str(v) for v in values]) if by.form == "name" else {}
    low, high = (min(values), max(values)) if values and not names else (0, 0)

    def square(row: Mapping[str, Any]) -> Square:
        value = row.get(by.column)
        if names:
            cell = names.get(str(value))
        else:
            flipped = None if value is None else (low + high - value if by.reverse else value)
            cell = shade(flipped, low, high)
        texts = " · ".join(row.get("texts") or ())
        tip = f"{row['name']}: {by.title} {by.say(value)}"
        tip += f"\nrole: {row['role']}" if row.get("role") else ""
        tip += f"\n{texts}" if texts else ""
        return Square(row["name"], by.say(value), tip, cell)

    at = {(row["layer"], row["head"]): square(row) for row in rows}
    layers = sorted({layer for layer, _ in at}, reverse=True)
    heads = tuple(range(max((head for _, head in at), default=-1) + 1))
    ends = (by.say(high), by.say(low)) if by.reverse else (by.say(low), by.say(high))
    return Grid(
        rows=tuple((layer, tuple(at.get((layer, head)) for head in heads)) for layer in layers),
        heads=heads,
        low=None if names or not values else ends[0],
        high=None if names or not values else ends[1],
        names=names,
    )
