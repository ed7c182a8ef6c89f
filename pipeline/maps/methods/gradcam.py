"""GradCAM: attention, or what the last block takes in, weighted by the gradient's mean."""

from jaxtyping import Float
from torch import Tensor

from pipeline.maps import graph
from pipeline.maps.base import Maps
from pipeline.maps.method import CLASS_TOKEN, map_method
from pipeline.towers.tower import Tower


@map_method(
    "attention-gradcam",
    title="attention GradCAM",
    shows="last attention weighted by its gradient's mean: ReLU(mean_h(mean_i ∇A[cls, i] · "
    "A[cls, i]))",
    source="arXiv 2012.09838",
    needs="gradient",
    towers=CLASS_TOKEN,
)
def attention_gradcam(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return ReLU(mean_h(mean_i ∇A_h[cls, i] · A_h[cls, i])) of the last layer.

    i goes over image tokens. `labels` is not used.
    """

    def row(found: graph.Pass, score: Tensor) -> Tensor:
        a = found.layers[-1].a
        (slope,) = graph.gradients(score, [a])
        weight = slope[:, :, 0, tower.prefix :].mean(dim=-1, keepdim=True)
        return (weight * a[:, :, 0]).mean(dim=1).relu()

    return graph.each_text(tower, pixels, texts, row)


@map_method(
    "gradcam",
    title="activation GradCAM",
    shows="ReLU(Σ_d mean_i(∂y/∂x_id) x_id) with x = ln_1 of the last block; what the library "
    "grad-cam makes of it",
    source="arXiv 1610.02391",
    needs="gradient",
    towers=CLASS_TOKEN,
)
def activation_gradcam(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return ReLU(Σ_d mean_i(∂y/∂x_id) x_id) with x = ln_1 of the last block (GradCAM).

    After the last attention the gradient of image tokens is zero, hence ln_1. The library grad-cam
    hooks modules, which open_clip's attention passes by; the tests hold this against it on a model
    with such a module. `labels` is not used.
    """

    def row(found: graph.Pass, score: Tensor) -> Tensor:
        y = found.layers[-1].y
        (slope,) = graph.gradients(score, [y])
        weight = slope[:, tower.prefix :].mean(dim=1, keepdim=True)
        return (weight * y).sum(dim=-1).relu()

    return graph.each_text(tower, pixels, texts, row)
