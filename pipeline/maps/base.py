"""What all maps share: the interface, the picture's tokens at any size, and the checks."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.towers.registry import tower_of
from pipeline.towers.tower import Tower
from schemas.errors import UsageError
from schemas.text import how_many


@dataclass(frozen=True)
class Maps:
    """A method's maps of a batch of pictures.

    Attributes:
        values: one number per image token, row by row as in the picture; larger is more relevant.
            The scale is the method's own: min-max before comparing methods.
        embedding: unit norm, computed in the same pass: equal to `encode_image` at the model's
            own picture size.
    """

    values: Float[Tensor, "image text grid_h grid_w"]
    embedding: Float[Tensor, "image d_joint"]


def as_tower(visual: Tower | nn.Module) -> Tower:
    """Return the tower of an image encoder, or the tower itself.

    Raises:
        UnsupportedModel: no family claims it, or its family refuses it.
    """
    return visual if isinstance(visual, Tower) else tower_of(visual)


def patch_of(tower: Tower) -> tuple[int, int]:
    """Return the height and width in pixels that one image token stands for."""
    visual: Any = tower.visual
    if isinstance(visual, VisionTransformer):
        return visual.patch_size[0], visual.patch_size[1]
    height, width = own_size(tower)
    return height // tower.grid[0], width // tower.grid[1]


def own_size(tower: Tower) -> tuple[int, int]:
    """Return the height and width of the pictures that a tower was made for."""
    size: Any = tower.visual.image_size
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def any_size(tower: Tower) -> bool:
    """Whether pictures of other sizes can be embedded: open_clip's own ViT, by its positions."""
    return isinstance(tower.visual, VisionTransformer)


def grid_of(tower: Tower, pixels: Float[Tensor, "image 3 height width"]) -> tuple[int, int]:
    """Return the rows and columns of image tokens.

    Raises:
        UsageError: a side is no multiple of the patch's, or the tower takes its own size alone.
    """
    sides = (pixels.shape[-2], pixels.shape[-1])
    if not any_size(tower):
        if sides != own_size(tower):
            raise UsageError(
                f"pictures of {sides[1]} x {sides[0]} pixels: {tower.family} takes "
                f"{own_size(tower)[1]} x {own_size(tower)[0]} alone; resize them first"
            )
        return tower.grid
    patches = patch_of(tower)
    if any(side % patch or not side for side, patch in zip(sides, patches, strict=True)):
        raise UsageError(
            f"pictures of {sides[1]} x {sides[0]} pixels: expected multiples of the patch's "
            f"{patches[1]} x {patches[0]}; resize or crop them first"
        )
    return sides[0] // patches[0], sides[1] // patches[1]


def first_tokens(
    tower: Tower | nn.Module, pixels: Float[Tensor, "image 3 height width"]
) -> Float[Tensor, "image token d_model"]:
    """Return the tokens that the first block receives, for pictures of any size.

    At the model's own size this is what the tower computes; at another one the position
    embedding of open_clip's own ViT is interpolated here, and the model's is left as it is.
    """
    tower = as_tower(tower)
    grid = grid_of(tower, pixels)
    if grid == tuple(tower.grid):
        return tower.embed(pixels)
    visual: Any = tower.visual
    patches = visual.conv1(pixels).flatten(2).mT
    first = visual.class_embedding.to(patches.dtype).expand(len(pixels), 1, -1)
    x = torch.cat([first, patches], dim=1) + positions(visual, grid).to(patches.dtype)
    return visual.ln_pre(x)


def positions(visual: Any, grid: tuple[int, int]) -> Float[Tensor, "token d_model"]:
    """Return open_clip's position embedding for a grid: bicubic, antialiased, as open_clip does.

    The class token's is kept. CLIP Surgery resizes without antialiasing: 4 % from this.
    """
    own: Tensor = visual.positional_embedding
    if grid == tuple(visual.grid_size):
        return own
    image = own[1:].unflatten(0, tuple(visual.grid_size)).permute(2, 0, 1).unsqueeze(0)
    resized = F.interpolate(
        image.float(), size=grid, mode="bicubic", antialias=True, align_corners=False
    )
    return torch.cat([own[:1], resized[0].flatten(1).T.to(own.dtype)])


def on_grid(
    values: Float[Tensor, "image text image_token"], grid: tuple[int, int]
) -> Float[Tensor, "image text grid_h grid_w"]:
    """Arrange image tokens (none before them) as in the picture; at least float32."""
    return wide(values).unflatten(-1, grid)


def for_all_texts(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    row: Float[Tensor, "image token"],
    embedding: Float[Tensor, "image d_joint"],
) -> Maps:
    """Return one row of numbers by token, those before the picture left out, for every text."""
    values = row[:, None, tower.prefix :].expand(-1, texts.shape[-2], -1)
    return Maps(on_grid(values, grid_of(tower, pixels)), embedding)


def texts_of_each(
    texts: Float[Tensor, "*image text d_joint"], count: int
) -> Float[Tensor, "each text d_joint"]:
    """Return the texts of each of `count` pictures.

    Raises:
        UsageError: there are sets for another number of pictures.
    """
    check_texts(texts, count)
    return texts.expand(count, *texts.shape[-2:])


def check_texts(texts: Float[Tensor, "*image text d_joint"], count: int) -> None:
    """Check that there is one set of texts, or one for each of `count` pictures.

    Raises:
        UsageError: there are sets for another number of pictures.
    """
    if (texts.ndim == 3 and texts.shape[0] != count) or texts.ndim not in (2, 3):
        raise UsageError(
            f"texts of shape {tuple(texts.shape)} for {how_many(count, 'picture')}: expected "
            f"[text, d_joint] or [{count}, text, d_joint]"
        )


def check_labels(
    texts: Float[Tensor, "*image text d_joint"], labels: Float[Tensor, "label d_joint"]
) -> None:
    """Refuse a label set that makes a comparison identically zero.

    Raises:
        UsageError: every text is the only label.
    """
    if len(labels) == 1 and bool((texts == labels[0]).all()):
        raise UsageError(
            "a text compared with itself alone gives a map that is zero everywhere; give more "
            "texts, or a label set to compare it with"
        )


def wide(x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return numbers in at least single precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def unit(x: Float[Tensor, "*axes d_joint"]) -> Float[Tensor, "*axes d_joint"]:
    """Return vectors scaled to length 1."""
    return F.normalize(x, dim=-1)
