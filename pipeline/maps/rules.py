"""Layer-wise relevance propagation: one rule for each kind of layer (Chefer et al., CVPR 2021).

Each takes the relevance of a layer's outputs to its inputs; α = 1. Softmax, GELU, LayerNorm,
LayerScale and the embedding's normalisation pass relevance on as it is, and have no function here.
Relevance is conserved, except that of an output none of whose products is positive: it is lost.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def ratio(r: Float[Tensor, "*axes"], z: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return r / z, and 0 where z is 0."""
    return (r / z.where(z != 0, 1)).where(z != 0, 0)


def linear(
    r: Float[Tensor, "*axes wide_out"],
    x: Float[Tensor, "*axes wide_in"],
    weight: Float[Tensor, "wide_out wide_in"],
) -> Float[Tensor, "*axes wide_in"]:
    """Return the inputs' relevance: each output's is shared out over its positive products x w.

    The denominator is the sum of both kinds of positive products, x⁺w⁺ + x⁻w⁻. Dividing by each
    apart, as some implementations do, would double relevance at each layer. The bias takes none.
    """
    positive, negative = weight.clamp_min(0), weight.clamp_max(0)
    above, below = x.clamp_min(0), x.clamp_max(0)
    share = ratio(r, F.linear(above, positive) + F.linear(below, negative))
    return above * (share @ positive) + below * (share @ negative)


def product(
    r: Float[Tensor, "*axes row column"],
    a: Float[Tensor, "*axes row inner"],
    b: Float[Tensor, "*axes inner column"],
) -> tuple[Float[Tensor, "*axes row inner"], Float[Tensor, "*axes inner column"]]:
    """Return the relevance of both operands of a @ b, half of it each."""
    share = ratio(r, a @ b)
    return a * (share @ b.mT) / 2, b * (a.mT @ share) / 2


def addition(
    r: Float[Tensor, "image token d_model"],
    a: Float[Tensor, "image token d_model"],
    b: Float[Tensor, "image token d_model"],
) -> tuple[Float[Tensor, "image token d_model"], Float[Tensor, "image token d_model"]]:
    """Return the relevance of both terms of a + b.

    Each term's elements share as a r / (a + b); then the two terms are scaled so that their totals
    in each picture are in the ratio |Σa r/(a+b)| : |Σb r/(a+b)|, and sum to Σr.
    """
    share = ratio(r, a + b)
    parts = [a * share, b * share]
    sums = [part.sum(dim=(1, 2), keepdim=True) for part in parts]
    whole = r.sum(dim=(1, 2), keepdim=True)
    weight = sums[0].abs() + sums[1].abs()
    first, second = (
        part * ratio(ratio(total.abs(), weight) * whole, total)
        for part, total in zip(parts, sums, strict=True)
    )
    return first, second


def pixels_below(
    r: Float[Tensor, "image d_model rows columns"],
    x: Float[Tensor, "image channel height width"],
    weight: Float[Tensor, "d_model channel patch_h patch_w"],
) -> Float[Tensor, "image channel height width"]:
    """Return the pixels' relevance by the z^B rule: they lie in the range of their own picture.

    Patches do not overlap: the convolution's stride is its kernel.
    """
    low = x.amin(dim=(1, 2, 3), keepdim=True).expand_as(x)
    high = x.amax(dim=(1, 2, 3), keepdim=True).expand_as(x)
    stride = tuple(weight.shape[-2:])
    positive, negative = weight.clamp_min(0), weight.clamp_max(0)

    def forth(values: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(values, w, stride=stride)

    def back(share: Tensor, w: Tensor) -> Tensor:
        return F.conv_transpose2d(share, w, stride=stride)

    share = ratio(r, forth(x, weight) - forth(low, positive) - forth(high, negative))
    return x * back(share, weight) - low * back(share, positive) - high * back(share, negative)
