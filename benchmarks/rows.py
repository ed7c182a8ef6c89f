"""A line of the benchmark table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measurement beside its bar.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: its unit, `x` for a ratio.
        bar: the largest value that passes; None where there is no bar.
        note: sizes and circumstances.
    """

    name: str
    value: float
    unit: str
    bar: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the bar is met."""
        return self.bar is None or self.value <= self.bar
