"""GEM (arXiv 2312.00878): CLIP Surgery's second path, with another self-self attention."""

from functools import partial

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, grid_of, on_grid
from pipeline.maps.method import CLASS_TOKEN, Option, map_method, whole
from pipeline.maps.methods.surgery import second_path
from pipeline.towers.tower import Tower


@map_method(
    "gem",
    title="GEM",
    shows="cosines after a second path of q-q, k-k and v-v attention on vectors of length 1",
    source="arXiv 2312.00878",
    towers=CLASS_TOKEN,
    options=(Option("iterations", "1", whole, "rounds of self-self attention before the values"),),
)
def gem(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    *,
    iterations: int,
) -> Maps:
    """Return cosines of image tokens after the second path with GEM's attention.

    `labels` is not used.
    """
    operator = partial(self_self, iterations=iterations)
    features, embedding = second_path(tower, pixels, operator)
    return Maps(on_grid(bl.cosines(tower, features, texts), grid_of(tower, pixels)), embedding)


def self_self(
    q: Float[Tensor, "image n_heads token d_head"],
    k: Float[Tensor, "image n_heads token d_head"],
    v: Float[Tensor, "image n_heads token d_head"],
    y: Float[Tensor, "image token d_model"],
    iterations: int,
) -> Float[Tensor, "image n_heads token d_head"]:
    """Return the mean of q-q, k-k and v-v attention to V, on vectors of length 1.

    The inverse temperature is mean_i ‖ln_1(h_i)‖ · s of each picture. Before that each of q, k and
    v is replaced `iterations` times by its own self-self attention to itself.
    """
    sharpness = y.norm(dim=-1).mean(dim=-1)[:, None, None, None] * v.shape[-1] ** -0.5
    total = 0 * v
    for x in (q, k, v):
        u = F.normalize(x, dim=-1)
        for _ in range(iterations):
            u = F.normalize((u @ u.mT * sharpness).softmax(dim=-1) @ u, dim=-1)
        total = total + (u @ u.mT * sharpness).softmax(dim=-1) @ v
    return total / 3
