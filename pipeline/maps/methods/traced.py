"""Contributions traced back to the picture: what each token adds, and where the token had it from.

The paper's map says which token of a layer a head reads. By then attention has mixed the tokens;
rollout (Abnar and Zuidema, 2020) says of how much of which patch a token is made. A combination of
the two, of our own: ahead of every other method on the drawn pictures (docs/log.md).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, check_labels, first_tokens, grid_of, on_grid, wide
from pipeline.maps.folded import fold_texts, through_output
from pipeline.maps.method import CLASS_TOKEN, map_method
from pipeline.maps.methods.rollout import FIRST, roll
from pipeline.maps.shared import min_max
from pipeline.towers.tower import Tower


@map_method(
    "traced-contribution",
    title="traced contribution",
    shows="contributions of every layer through the rolled-out attention of the layers before, "
    "times rollout; our own",
    source="arXiv 2310.05916 with 2005.00928",
    needs="attention",
    towers=CLASS_TOKEN,
    options=(FIRST,),
)
def traced_contribution(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    *,
    first: int,
) -> Maps:
    """Return (m − min m) · minmax(row cls of Â_L … Â_first) with m = Σ_l c_l Â_{l−1} … Â_first.

    c_l [token] is what the heads of layer l add to ⟨embedding, t − mean_k t_k⟩ from each token, the
    class token's among them; Â is mean_h A + I with rows that sum to 1, from the second block on as
    in rollout. σ and the embedding's norm are left out: maps of one picture can be compared, texts
    with each other, not those of two pictures.

    Raises:
        UsageError: the only label is the text itself: the map would be zero everywhere.
    """
    check_labels(texts, labels)
    folded = fold_texts(tower, texts - labels.mean(dim=0))
    x = first_tokens(tower, pixels)
    one = torch.eye(x.shape[1], dtype=wide(x).dtype, device=x.device)
    rolled = one.expand(len(x), -1, -1)
    total = one.new_zeros(len(x), texts.shape[-2], x.shape[1])
    for layer, block in enumerate(tower.blocks):
        y = block.norm(x)
        q, k, v = block.project(y, None)
        a = block.alpha(q, k)
        o = block.gated(a @ v, y)
        read = block.gated(a[:, :, 0, :, None] * v, y[:, :1].expand_as(y))
        written = block.write(o)
        spread = read.transpose(1, 2).flatten(2)
        if written.heads is not None:
            spread = spread * written.heads[:, :1, None]
        total = total + wide(spread @ through_output(block, folded)).mT @ rolled
        if layer >= first:
            rolled = roll(rolled, a)
        x = x + written.update
        x = x + block.mlp(x)
    grid = grid_of(tower, pixels)
    traced = on_grid(total[..., tower.prefix :], grid)
    above = traced - traced.amin(dim=(-2, -1), keepdim=True)
    reached = min_max(on_grid(rolled[:, :1, tower.prefix :], grid))
    return Maps(above * reached, bl.embedding(tower, x))
