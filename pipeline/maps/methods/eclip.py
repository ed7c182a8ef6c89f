"""ECLIP (arXiv 2209.07046): image tokens and texts through two projections that were trained.

The projections are trained behind a frozen CLIP, by max pooling over the image tokens under a mask
(masked max pooling), so that a token and a text of the same thing come near. Pooling and mask are
of the training alone: a map is the cosine of each projected token with the projected text. They
belong to one model, and none ship with HeadAtlas: they come from a checkpoint.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, grid_of, on_grid, unit
from pipeline.maps.method import TOKENS, Option, map_method
from pipeline.maps.methods.tokens import token_features
from pipeline.towers.tower import Tower
from schemas.errors import UsageError

LAYOUT = (
    "image.weight and text.weight [wide_out, d_joint], and if there are biases image.bias and "
    "text.bias [wide_out]"
)
_WEIGHTS = ("image.weight", "text.weight")
_BIASES = ("image.bias", "text.bias")


@dataclass(frozen=True)
class Projections:
    """Two linear layers that act on unit-norm features: y = x Wᵀ + b.

    Attributes:
        image_weight: of image tokens in the joint space.
        text_weight: of text embeddings.
        image_bias: zero where the checkpoint has none.
        text_bias: the same.
    """

    image_weight: Float[Tensor, "wide_out d_joint"]
    text_weight: Float[Tensor, "wide_out d_joint"]
    image_bias: Float[Tensor, " wide_out"]
    text_bias: Float[Tensor, " wide_out"]


def load_projections(path: Path) -> Projections:
    """Read a checkpoint: safetensors, or a torch file of tensors alone, read with weights_only.

    Raises:
        UsageError: the file cannot be read, or its keys or shapes are not those of `LAYOUT`.
    """
    held = _read(path)
    known = {*_WEIGHTS, *_BIASES}
    wrong = [f"{name} is missing" for name in _WEIGHTS if name not in held]
    wrong += [f"{name} is not known" for name in sorted(held.keys() - known)]
    if wrong:
        raise UsageError(f"eclip checkpoint {path}: {wrong[0]}; expected {LAYOUT}")
    strange = [n for n, x in held.items() if not x.is_floating_point() or not x.isfinite().all()]
    if strange:
        raise UsageError(f"eclip checkpoint {path}: {strange[0]} holds no finite numbers")
    shapes = {name: tuple(held[name].shape) for name in sorted(held)}
    wide = held["image.weight"].shape
    fits = len(wide) == 2 and held["text.weight"].shape == wide
    fits = fits and all(held[b].shape == wide[:1] for b in _BIASES if b in held)
    if not fits:
        said = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise UsageError(f"eclip checkpoint {path}: got {said}; expected {LAYOUT}")
    none = held["image.weight"].new_zeros(wide[0])
    biases = (held.get(name, none) for name in _BIASES)
    return Projections(held["image.weight"], held["text.weight"], *biases)


@map_method(
    "eclip",
    title="ECLIP",
    shows="`tokens` through two trained projections (`--eclip`)",
    source="arXiv 2209.07046",
    towers=TOKENS,
    options=(
        Option(
            "checkpoint",
            None,
            lambda path: load_projections(Path(path)),
            f"a file with {LAYOUT}",
            "eclip needs two projections that were trained for the model; give their file with "
            "--eclip (of headatlas map, segment or explore), or take rclip, the same paper's "
            "method without training",
        ),
    ),
)
def eclip(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    *,
    checkpoint: Projections,
) -> Maps:
    """Return cos(φ_image(f_i), φ_text(t)) of each image token.

    f_i = proj(ln_post(z_i)), unit norm, as in the plain map. `labels` is not used.

    Raises:
        UsageError: the projections are of a model of another joint width.
    """
    wide = checkpoint.image_weight.shape[1]
    if texts.shape[-1] != wide:
        raise UsageError(
            f"eclip's projections take {wide} numbers, this model's joint width is "
            f"{texts.shape[-1]}; they must be trained for this model"
        )
    features, embedding = token_features(tower, pixels)
    weights = (checkpoint.image_weight, checkpoint.image_bias)
    found = unit(F.linear(features, *(w.to(features) for w in weights)))
    weights = (checkpoint.text_weight, checkpoint.text_bias)
    asked = unit(F.linear(texts.to(features), *(w.to(features) for w in weights)))
    return Maps(on_grid(bl.cosines(tower, found, asked), grid_of(tower, pixels)), embedding)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"cannot read eclip checkpoint {path}: {reason}") from None
    if not isinstance(held, dict) or not all(isinstance(x, Tensor) for x in held.values()):
        raise UsageError(f"eclip checkpoint {path} is no dictionary of tensors; expected {LAYOUT}")
    return held
