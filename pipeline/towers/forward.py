"""One walk through a tower that keeps what each component adds to the tokens that are read.

The blocks are walked with their weights: open_clip's attention takes a fused path in evaluation
mode, past any hook. For a class token the pass costs less than `encode_image`: every head's
output at the class token is computed by any forward pass, and in the last layer only the class
token's query, output projection and MLP are needed.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from pipeline.towers import norms
from pipeline.towers.block import Attended, Block, Written
from pipeline.towers.tower import Inputs, Tower


class Step(NamedTuple):
    """One block, as it was walked.

    Attributes:
        layer: its number.
        x: the residual stream that it receives.
        attended: its attention.
        written: what its attention adds.
        mlp: what its MLP adds.
    """

    layer: int
    x: Float[Tensor, "image token d_model"]
    attended: Attended
    written: Written
    mlp: Float[Tensor, "image query d_model"]


@dataclass(frozen=True)
class Parts:
    """What the components add to the residual stream of the tokens read.

    Where the read-out weights all tokens alike they are pooled as they come, and `read` is 1.

    Attributes:
        heads: by layer kept: attention-weighted values o of each head, times the token's scale
            (`Block`): a head adds o · T.
        bias: by layer, for blocks whose bias varies: the token's scale of it.
        mlp: what each layer's MLP adds.
        init: the tokens as the first block receives them.
        residual: the last states: init + Σ attention + Σ MLP.
        tokens: the last states of all tokens; None where `read` is 1.
    """

    heads: Mapping[int, Float[Tensor, "image read _ _"]]
    bias: Mapping[int, Float[Tensor, "image read"]]
    mlp: tuple[Float[Tensor, "image read d_model"], ...]
    init: Float[Tensor, "image read d_model"]
    residual: Float[Tensor, "image read d_model"]
    tokens: Float[Tensor, "image token d_model"] | None = None


def forward_parts(
    tower: Tower,
    inputs: Inputs,
    layers: Collection[int] | None = None,
    watch: Callable[[Step], None] | None = None,
) -> Parts:
    """Run the encoder and keep the parts of the tokens read, heads of `layers` (None: all).

    Does not apply the read-out. `watch` is shown every block as it is walked.
    """
    readout = tower.readout
    x = tower.start(inputs)
    init = readout.reduce(x)
    heads: dict[int, Tensor] = {}
    biases: dict[int, Tensor] = {}
    mlps: list[Tensor] = []
    for layer, block in enumerate(tower.masked(inputs)):
        queries = 1 if readout.single and layer == tower.n_layers - 1 else None
        attended = block.attended(x, queries)
        o = attended.o
        written = _written(tower, block, o)
        before, x = x, x[:, : o.shape[2]] + written.update
        mlp = block.mlp(x)
        x = x + mlp
        if watch is not None:
            watch(Step(layer, before, attended, written, mlp))
        if layers is None or layer in layers:
            heads[layer] = _kept(tower, o, written)
        if written.bias is not None:
            biases[layer] = readout.reduce(written.bias[..., None])[..., 0]
        mlps.append(readout.reduce(mlp))
    tokens = None if readout.early else x
    return Parts(heads, biases, tuple(mlps), init, readout.reduce(x), tokens)


def _written(tower: Tower, block: Block, o: Float[Tensor, "image n_heads token d_head"]) -> Written:
    """Return what a block writes; to the tokens that are read, without half precision's rounding.

    A head's part is o · T in single precision: what is added must be the same. Of a mean over
    tokens it is enough that the mean is.
    """
    readout = tower.readout
    if not tower.mixed:
        return block.write(o)
    if readout.single:
        read = block.write(o[:, :, :1], wide=True)
        if o.shape[2] == 1:
            return read
        update = block.write(o).update.float()
        update[:, :1] = read.update
        return Written(update, read.heads, read.bias)
    if not readout.early or block.post is not None:
        return block.write(o, wide=True)
    written = block.write(o)
    update, tokens = written.update.float(), readout.tokens
    off = block.mean_written(o[:, :, tokens]) - norms.mean_of(update[:, tokens], dim=1)
    update[:, tokens] += off
    return Written(update, written.heads, written.bias)


def _kept(
    tower: Tower, o: Float[Tensor, "image n_heads token d_head"], written: Written
) -> Float[Tensor, "image read n_heads d_head"]:
    """Return heads' outputs of the tokens read, each times its token's scale."""
    readout = tower.readout
    if readout.single:
        o = o[:, :, :1]
    if written.heads is not None:
        o = o * written.heads[:, None, : o.shape[2], None]
    if readout.single:
        return o.transpose(1, 2).clone()
    read = o[:, :, readout.tokens]
    if readout.early:
        return norms.mean_of(read, dim=2).transpose(1, 2)
    return read.transpose(1, 2)
