"""What something in the residual stream comes from."""

from typing import NamedTuple


class Source(NamedTuple):
    """What something in the residual stream comes from.

    Attributes:
        kind: head, mlp, bias, init, or const: what is of no picture.
        layer: None where it has none, and `head` where it is no head.
    """

    kind: str
    layer: int | None = None
    head: int | None = None
