"""A tower: what a family says of an encoder, and all that the rest of the program knows.

A family's file says where things are (`families/`): tokens, blocks, read-out. The walk, the
decomposition, frames, maps and effects are written once, on this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.towers.block import Block
from pipeline.towers.readout import Readout
from schemas.errors import UnsupportedModel

# Preprocessed pictures; of a text tower, token ids.
Inputs = Float[Tensor, "image 3 height width"] | Int[Tensor, "image place"]


@dataclass(frozen=True, eq=False)
class Tower:
    """An image encoder that decomposes exactly; `text_tower` has the texts'.

    Attributes:
        family: name of the family.
        visual: the module itself; `visual(inputs)` is its own forward.
        embed: inputs to the residual stream that the first block receives.
        blocks: in order; empty for a tower whose pool alone has heads.
        readout: from the residual stream to the embedding.
        prefix: tokens before the picture's own: the class token, registers.
        grid: rows and columns of the picture's tokens.
        d_model: width of the residual stream.
        d_joint: width of the embedding.
        wide: whether the residual stream is single precision when the weights are half: what a
            part adds is then what is counted, and not its rounding.
    """

    family: str
    visual: nn.Module
    embed: Callable[[Tensor], Tensor]
    blocks: tuple[Block, ...]
    readout: Readout
    prefix: int
    grid: tuple[int, int]
    d_model: int
    d_joint: int
    wide: bool = True

    @property
    def n_layers(self) -> int:
        """Blocks of the trunk."""
        return len(self.blocks)

    @property
    def pool_layer(self) -> int | None:
        """Index of the pool's heads as a layer, after the blocks; None if the pool has none."""
        return None if self.readout.pool is None else self.n_layers

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the weights."""
        pool = self.readout.pool
        return (self.blocks[-1].out if pool is None else pool.out).weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.visual.parameters()).device

    def own(self, inputs: Inputs) -> Float[Tensor, "image d_joint"]:
        """Return the embedding by the module's own forward, not normalised."""
        found = self.visual(inputs)
        return found[0] if isinstance(found, tuple) else found

    @property
    def mixed(self) -> bool:
        """Whether products are in half precision on a residual stream in single."""
        return self.wide and self.dtype in (torch.float16, torch.bfloat16)

    def start(self, inputs: Inputs) -> Float[Tensor, "image token d_model"]:
        """Return the residual stream that the first block receives, in its precision."""
        x = self.embed(inputs)
        return x.float() if self.mixed else x

    def masked(self, inputs: Inputs) -> tuple[Block, ...]:
        """Return the blocks as they are for these inputs: texts have a mask of their own."""
        return self.blocks

    def states(self, inputs: Inputs) -> Float[Tensor, "image token d_model"]:
        """Return the residual stream after the last block, all tokens."""
        x = self.start(inputs)
        for block in self.masked(inputs):
            x = block.after(x)
        return x

    def encode(self, inputs: Inputs) -> Float[Tensor, "image d_joint"]:
        """Return the embedding by blocks and read-out, not normalised; can be differentiated."""
        return self.readout.embed(self.states(inputs))


@runtime_checkable
class Family(Protocol):
    """One family of towers: a module of `pipeline.towers.families` has one, named `FAMILY`.

    A family of text towers is named `TEXT_FAMILY`, and is given the whole model.
    """

    name: str

    def claims(self, visual: Any) -> bool:
        """Whether an encoder is of this family: by its exact type."""
        ...

    def tower(self, visual: Any) -> Tower:
        """Say where things are.

        Raises:
            Refused: this one has an option with which no head writes linearly.
        """
        ...


class Refused(UnsupportedModel):
    """A family's own reason why an encoder has no exact decomposition."""
