"""What a head does to the embedding: directly, and in total, by running the model.

For a unit-norm embedding ê, a target direction w, and the mean output of a head at each token:

    total(l,h)      = w · [ê(I) − ê(I | o_i^{l,h} := mean_i for all tokens i)]
    class_only(l,h) = the same, with o replaced at the read-out's tokens alone
    direct(l,h)     = w · Q(v − v̄)
    atp(l,h)        = Σ_i ⟨o_i − mean_i, ∂(w·ê)/∂o_i⟩

The last LayerNorm's scale and the norm of the embedding are frozen for `direct`; for the others
they are what the changed picture has. `atp` is attribution patching (Kramár et al. 2024,
arXiv 2403.00745), a first order of `total`: one forward pass, one backward pass for each target.

`total` costs, of each layer l, n_heads × (L − 1 − l + 0.6) / L forward passes: the residual stream
that enters the layer is computed once, and its heads go onto the batch axis.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pipeline.heads.decompose import Decomposer, Decomposition
from pipeline.heads.position_means import PositionSums, queries
from pipeline.towers.block import Block
from pipeline.towers.tower import Tower

Heads = Mapping[int, Sequence[int]]
"""The heads of each layer that are asked for."""

# Pictures with a head replaced that go through the tower together.
ROWS = 256


def all_heads(tower: Tower) -> dict[int, range]:
    """Return every head of the trunk."""
    return {layer: range(block.n_heads) for layer, block in enumerate(tower.blocks)}


def passes(n_layers: int, heads: Heads) -> float:
    """Return the forward passes a picture that `total_effects` costs, its own among them."""
    last = n_layers - 1
    layers = sum(len(some) * (last - layer + 0.6) for layer, some in heads.items())
    return 1 + layers / n_layers


@torch.inference_mode()
def total_effects(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    means: PositionSums,
    heads: Heads,
    *,
    read_only: bool = False,
) -> Float[Tensor, "image head d_joint"]:
    """Return ê − ê with each head's output replaced by its mean, exactly.

    Args:
        tower: any whose blocks have heads.
        pixels: preprocessed.
        means: of the outputs.
        heads: which; the result has them in ascending order.
        read_only: replace at the tokens read alone: `class_only`.
    """
    x = tower.start(pixels)
    changed: list[Tensor] = []
    for layer, block in enumerate(tower.blocks):
        o = block.attend(x, queries(tower, layer))
        after = x[:, : o.shape[2]] + block.write(o).update
        wanted = sorted(heads.get(layer, ()))
        if wanted:
            mean = means.mean_outputs(layer, o)
            step = max(1, ROWS // len(pixels))
            for start in range(0, len(wanted), step):
                some = wanted[start : start + step]
                rows = _replaced(tower, block, x, after, o, mean, some, read_only)
                ends = finish(tower, layer, rows)
                changed.append(ends.unflatten(0, (len(some), len(pixels))))
        x = after + block.mlp(after)
    own = F.normalize(tower.readout.embed(x), dim=-1)
    return (own - torch.cat(changed)).transpose(0, 1)


def _replaced(
    tower: Tower,
    block: Block,
    x: Float[Tensor, "image token d_model"],
    after: Float[Tensor, "image query d_model"],
    o: Float[Tensor, "image n_heads query d_head"],
    mean: Float[Tensor, "n_heads query d_head"],
    heads: Sequence[int],
    read_only: bool,
) -> Float[Tensor, "rows query d_model"]:
    """Return the residual stream between attention and MLP, with one head replaced in each row."""
    gap = mean[heads] - o[:, heads]
    if read_only:
        kept = torch.zeros_like(gap)
        kept[:, :, tower.readout.tokens] = gap[:, :, tower.readout.tokens]
        gap = kept
    if block.inner is None and block.post is None:
        # what is written is linear in o: a change of rank d_head
        weight = block.out.weight.unflatten(1, (block.n_heads, block.d_head))[:, heads]
        if block.head_scale is not None:
            gap = gap * block.head_scale.reshape(block.n_heads, 1, 1)[heads]
        added = torch.einsum("bhik,dhk->hbid", gap.to(weight.dtype), weight)
        if block.gain is not None:
            added = added * block.gain
        return (after + added).flatten(0, 1)
    rows = o.repeat(len(heads), 1, 1, 1).unflatten(0, (len(heads), len(o)))
    for row, head in enumerate(heads):
        rows[row, :, head] += gap[:, row]
    written = block.write(rows.flatten(0, 1)).update
    return x[:, : o.shape[2]].repeat(len(heads), 1, 1) + written


def finish(
    tower: Tower, layer: int, x: Float[Tensor, "rows token d_model"]
) -> Float[Tensor, "rows d_joint"]:
    """Return unit-norm embeddings from the residual stream before a layer's MLP."""
    x = x + tower.blocks[layer].mlp(x)
    for later in range(layer + 1, tower.n_layers):
        block = tower.blocks[later]
        o = block.attend(x, queries(tower, later))
        x = x[:, : o.shape[2]] + block.write(o).update
        x = x + block.mlp(x)
    return F.normalize(tower.readout.embed(x), dim=-1)


def direct_effects(
    decomposer: Decomposer,
    found: Decomposition,
    means: PositionSums,
    heads: Heads,
    targets: Float[Tensor, "target d_joint"],
) -> Float[Tensor, "image head target"]:
    """Return w · Q(v − v̄) of each head, from parts that are known already."""
    parts = []
    for layer, some in sorted(heads.items()):
        vectors = found.vectors[layer]
        centred = (vectors - means.mean_vectors(layer, vectors))[:, sorted(some)]
        w = targets.to(centred)
        if layer in decomposer.q:
            inside = torch.einsum("hjk,tj->htk", decomposer.q[layer][sorted(some)], w)
            parts.append(torch.einsum("bhk,htk->bht", centred, inside))
        else:
            parts.append(centred @ w.T)
    return torch.cat(parts, dim=1)


class _Dropped:
    """Which layer's gradient is dropped at the moment; None for none."""

    layer: int | None = None


def attributed_effects(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    means: PositionSums,
    heads: Heads,
    targets: Float[Tensor, "target d_joint"],
    *,
    gradient_dropout: bool = False,
) -> Float[Tensor, "image head target"]:
    """Return AtP's first order of the total effect of each head on each target.

    With `gradient_dropout`, the mean over layers of what is left when no gradient flows through
    that layer's attention and MLP (GradDrop; arXiv 2403.00745, section 3.2, with the signs kept):
    direct and indirect effects that cancel each other no longer hide a head. It takes one more
    backward pass for each layer and target. The head's own layer counts nothing, so the sum is
    divided by one less than the layers.
    """
    dropped = _Dropped()
    outputs, embedding = _graph(tower, pixels, heads, dropped)
    layers = sorted(heads)
    gaps = [o.detach() - means.mean_outputs(n, o) for n, o in zip(layers, outputs, strict=True)]
    cases: Sequence[int | None] = range(tower.n_layers) if gradient_dropout else (None,)
    columns = []
    for w in targets.to(embedding):
        total = torch.zeros(())
        for dropped.layer in cases:
            total = total.to(embedding) + torch.cat(
                [
                    (gap * gradient).sum(dim=(2, 3))[:, sorted(heads[layer])]
                    for layer, gap, gradient in zip(
                        layers,
                        gaps,
                        torch.autograd.grad((embedding @ w).sum(), outputs, retain_graph=True),
                        strict=True,
                    )
                ],
                dim=1,
            )
        columns.append(total / max(1, len(cases) - 1))
    return torch.stack(columns, dim=-1)


def _graph(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    heads: Heads,
    dropped: _Dropped,
) -> tuple[list[Tensor], Float[Tensor, "image d_joint"]]:
    """Run the tower and keep the graph from the outputs of the layers asked for."""
    outputs: list[Tensor] = []
    first = min(heads)
    with torch.no_grad():
        x = tower.start(pixels)
        for block in tower.blocks[:first]:
            x = block.after(x)
    with torch.enable_grad():
        for layer in range(first, tower.n_layers):
            block = tower.blocks[layer]
            o = block.attend(x, queries(tower, layer))
            if layer in heads:
                o = o if o.requires_grad else o.detach().requires_grad_()
                outputs.append(o)
            update = _watched(block.write(o).update, layer, dropped)
            x = x[:, : o.shape[2]] + update
            x = x + _watched(block.mlp(x), layer, dropped)
        return outputs, F.normalize(tower.readout.embed(x), dim=-1)


def _watched(added: Tensor, layer: int, dropped: _Dropped) -> Tensor:
    """Let no gradient through while this layer's is dropped."""

    def gate(gradient: Tensor) -> Tensor:
        return torch.zeros_like(gradient) if dropped.layer == layer else gradient

    added.register_hook(gate)
    return added


def class_directions(
    weights: Float[Tensor, "class d_joint"],
) -> Float[Tensor, "class d_joint"]:
    """Return each class weight minus the mean of the others."""
    if len(weights) == 1:
        return weights
    others = (weights.sum(dim=0) - weights) / (len(weights) - 1)
    return weights - others
