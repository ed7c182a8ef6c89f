"""What heads do in total, from gradients on the way to their means.

AtP takes the gradient at the picture as it is. Where a head's output is far from its mean, later
attention and MLPs bend in between, and a first order misses it. The integral of the gradient along
the way is exact (integrated gradients, arXiv 1703.01365; for components of a model, arXiv
2403.17806), and costs as much as replacing each head. Here all heads of a layer go together,
1 / sqrt(n_heads) of the way each: as far, all together, as one head alone that goes the whole way.
The integral is by the trapezoid rule, from both ends:

    ½ Σ_i ⟨o_i − mean_i, ∂(w·ê)/∂o_i at o + ∂(w·ê)/∂o_i at o − (o − mean) / sqrt(n_heads)⟩
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.heads.effects import Heads, attributed_effects, finish
from pipeline.heads.position_means import PositionSums, queries
from pipeline.towers.tower import Tower


def integrated_effects(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    means: PositionSums,
    heads: Heads,
    targets: Float[Tensor, "target d_joint"],
) -> Float[Tensor, "image head target"]:
    """Return the effect of each head on each target; heads in ascending order.

    One forward pass and one backward pass for each target from each layer on, beside AtP's.
    """
    near = attributed_effects(tower, pixels, means, heads, targets)
    far = []
    with torch.no_grad():
        x = tower.start(pixels)
        for layer, block in enumerate(tower.blocks):
            o = block.attend(x, queries(tower, layer))
            before = x[:, : o.shape[2]]
            if layer in heads:
                gap = o - means.mean_outputs(layer, o)
                moved = (o - gap / math.sqrt(block.n_heads)).requires_grad_()
                with torch.enable_grad():
                    ends = finish(tower, layer, before + block.write(moved).update)
                    slopes = [
                        torch.autograd.grad((ends @ w).sum(), moved, retain_graph=True)[0]
                        for w in targets.to(ends)
                    ]
                columns = [(gap * slope).sum(dim=(2, 3)) for slope in slopes]
                far.append(torch.stack(columns, dim=-1)[:, sorted(heads[layer])])
            x = before + block.write(o).update
            x = x + block.mlp(x)
    return (near + torch.cat(far, dim=1)) / 2


def integrated_passes(n_layers: int, heads: Heads, targets: int) -> float:
    """Return the passes a picture that this costs: a backward pass counts as one."""
    later = sum((n_layers - layer) / n_layers for layer in heads)
    return (1 + targets) * (1 + later)
