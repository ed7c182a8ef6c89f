"""LeGrad (arXiv 2404.03214): positive gradients of every layer's own cosine by its attention."""

from jaxtyping import Float
from torch import Tensor

from pipeline.maps import blocks as bl
from pipeline.maps import graph
from pipeline.maps.base import Maps, first_tokens, grid_of, on_grid, texts_of_each, wide
from pipeline.maps.method import CLASS_TOKEN, Option, count_or_all, map_method
from pipeline.towers.tower import Tower


@map_method(
    "legrad",
    title="LeGrad",
    shows="Σ_l mean_{h, query}(∂s_l/∂A_l)⁺[i] with s_l = cos(t, proj(ln_post(mean of tokens "
    "after layer l)))",
    source="arXiv 2404.03214",
    needs="gradient",
    towers=CLASS_TOKEN,
    options=(Option("layers", "2", count_or_all, "the last so many layers, or all"),),
)
def legrad(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    *,
    layers: int | None,
) -> Maps:
    """Return Σ_l mean_{h, query}(∂s_l/∂A_l)⁺[i].

    s_l = cos(t, proj(ln_post(mean of tokens after layer l))). `labels` is not used.
    """
    grid = grid_of(tower, pixels)
    each = texts_of_each(texts, len(pixels))
    blocks = tower.blocks
    start = 0 if layers is None else max(0, len(blocks) - layers)
    with graph.differentiable():
        each = graph.usable(each)
        x = first_tokens(tower, graph.usable(pixels)).detach()
        total = wide(x.new_zeros(each.shape[1], len(x), x.shape[1]))
        for layer, block in enumerate(blocks):
            # s_l depends on A_l through this block alone
            x = x.detach()
            if layer < start:
                x = block.after(x)
                continue
            y = block.norm(x)
            q, k, v = block.project(y, None)
            a = block.alpha(q, k).detach().requires_grad_()
            x = bl.add(block, x, block.gated(a @ v, y))
            pooled = bl.to_joint(tower, x.mean(dim=1))
            for index in range(each.shape[1]):
                score = (pooled * each[:, index].to(pooled.dtype)).sum(dim=-1)
                (slope,) = graph.gradients(score, [a])
                total[index] += slope.relu().mean(dim=(1, 2))
        embedding = bl.embedding(tower, x).detach()
    return Maps(on_grid(total.transpose(0, 1)[..., tower.prefix :], grid), embedding)
