"""A text tower: blocks and a read-out like an image encoder's, over token ids (TOWERS §4).

Its embedding is read from one token of each text: the end-of-text token, the first, the last, or
CoCa's class embedding. That token is put first, in the residual stream and in the mask, which no
block notices: positions are in the stream already. So the walk, frames and the decomposition are
those of a class token.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.towers.block import Block
from pipeline.towers.tower import Tower

Mask = Float[Tensor, "image token token"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TextTower(Tower):
    """A text encoder that decomposes exactly.

    `embed` gives the residual stream with the token that is read first.

    Attributes:
        place: which token of each text is read.
        mask: what is added to the attention's scores, of tokens in their own order; None: nothing.
    """

    place: Callable[[Tensor], Int[Tensor, " image"]]
    mask: Callable[[Tensor], Mask | None]

    def masked(self, inputs: Int[Tensor, "image place"]) -> tuple[Block, ...]:
        """Return the blocks with these texts' mask, the token read first."""
        mask = self.mask(inputs)
        if mask is None:
            return self.blocks
        order = read_first(self.place(inputs), mask.shape[-1])
        rows = mask.gather(1, order[:, :, None].expand_as(mask))
        own = rows.gather(2, order[:, None].expand_as(mask))[:, None]
        return tuple(replace(block, mask=lambda: own) for block in self.blocks)


def read_first(place: Int[Tensor, " image"], tokens: int) -> Int[Tensor, "image token"]:
    """Return the order of tokens in which the one read and the first change places.

    Applied twice, it changes nothing.
    """
    order = torch.arange(tokens, device=place.device).repeat(len(place), 1)
    order[:, 0] = place
    order[torch.arange(len(place), device=place.device), place] = 0
    return order


def in_order(
    x: Float[Tensor, "image token d"], order: Int[Tensor, "image token"]
) -> Float[Tensor, "image token d"]:
    """Return each text's tokens in its order."""
    return x.gather(1, order[..., None].expand_as(x))


def place_read(kind: str, eos: int | None, ids: Any, tokens: int) -> Int[Tensor, " image"]:
    """Return which token is read, by open_clip's name of the pool; `cls` is appended at the end."""
    if kind == "argmax":
        found: Tensor = ids.argmax(dim=-1)
        return found
    if kind == "eos":
        found = (ids == eos).int().argmax(dim=-1)
        return found
    last = tokens - 1 if kind in ("last", "cls") else 0
    return torch.full((len(ids),), last, device=ids.device)
