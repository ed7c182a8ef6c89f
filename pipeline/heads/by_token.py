"""A head's vector split by the tokens that it reads: Σ_j α_j v_j T / (σ ‖embedding‖), term by term.

Of the one token that the embedding is read from (a class token, or a text's read token). In layers
after the first a token's state has mixed earlier ones in: the split is by token as the head reads
it (TOWERS §4).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.heads.decompose import Decomposer
from pipeline.towers.block import Block
from pipeline.towers.tower import Inputs


@torch.inference_mode()
def token_vectors(
    decomposer: Decomposer, inputs: Inputs
) -> dict[int, Float[Tensor, "image n_heads token width"]]:
    """Return the vectors of the stored layers' heads by token read; they sum to `vectors`.

    Tokens are in the order of the residual stream: of texts the one read is the first.

    Raises:
        ValueError: the embedding is read from several tokens.
    """
    tower = decomposer.tower
    if not tower.readout.single:
        raise ValueError(f"the read-out {tower.readout.kind} reads several tokens; expected one")
    x = tower.start(inputs)
    found: dict[int, Tensor] = {}
    for layer, block in enumerate(tower.masked(inputs)):
        written = block.write(block.attend(x))
        if layer in decomposer.trunk:
            found[layer] = _each(block, x).to(decomposer.dtype)
            if written.heads is not None:
                found[layer] = found[layer] * written.heads[:, :1, None, None]
        x = x + written.update
        x = x + block.mlp(x)
    reading = decomposer.through.read(tower.readout.reduce(x))
    scale = 1 / (reading.sigma * reading.raw.norm(dim=-1))
    return {
        layer: torch.einsum("bhti,hji->bhtj", each, decomposer.r[layer])
        * scale[:, None, None, None]
        for layer, each in found.items()
    }


def _each(
    block: Block, x: Float[Tensor, "image token d_model"]
) -> Float[Tensor, "image n_heads token d_head"]:
    """Return α_j v_j of the first token's query."""
    y = block.norm(x)
    q, k, v = block.project(y, 1)
    each = block.alpha(q, k)[:, :, 0, :, None] * v
    return each if block.gate is None else each * block.gate(y[:, :1])
