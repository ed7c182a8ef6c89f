"""Every config of open_clip: does a scan of it start, and do its parts sum.

Whether an image encoder is refused is asked of the whole config. What is tried of the others is the
arithmetic of their class, in float64 with random weights: real class, options and widths, cut to
its first blocks and to pictures of a few patches. Configs that are then the same in everything
(of another picture's size, text tower or depth) are tried once.
"""

from collections.abc import Iterator
from math import inf
from typing import Any

import open_clip
import torch
from torch import nn

from benchmarks.rows import Row
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.towers.listing import NOT_BUILT, bare_visual
from pipeline.towers.models import check_supported
from pipeline.towers.registry import tower_of
from schemas.errors import DecompositionError, UnsupportedModel

BLOCKS = 2
PATCHES = 3  # of a side
SIDE = 64  # pixels, of a ResNet's pictures: it halves them five times
BAR = 1e-10


def run(names: list[str] | None = None) -> Iterator[Row]:
    """Try each config, and count: a row each."""
    names = names or open_clip.list_models()
    tried: dict[str, tuple[str, float]] = {}
    able, refused, tags, tags_of_all = 0, 0, 0, 0
    for name in names:
        own_tags = len(open_clip.list_pretrained_tags_by_model(name))
        tags_of_all += own_tags
        what, note = f"{name}: parts off by", ""
        try:
            visual = bare_visual(name)
            check_supported(tower_of(visual, name), name)
            visual = cut(name, visual)
            same, off = tried.get(form(visual), ("", inf))
            if same:
                note = f"as {same}"
            else:
                off = sum_of_parts(filled(visual))
                tried[form(visual)] = (name, off)
        except UnsupportedModel as error:
            refused += 1
            yield Row(f"{name}: refused", 0.0, "", None, str(error))
            continue
        except (DecompositionError, *NOT_BUILT) as error:
            off, note = inf, f"{type(error).__name__}: {error}"
        able += off <= BAR
        tags += own_tags if off <= BAR else 0
        yield Row(what, off, "", BAR, note)
    note = (
        f"{able} configs of {len(names)} whose parts sum, {refused} refused by name; tags {tags} "
        f"of {tags_of_all}; {len(tried)} forms tried, float64, {BLOCKS} blocks"
    )
    yield Row("configs that neither sum nor are refused", len(names) - able - refused, "", 0, note)


def cut(name: str, visual: nn.Module) -> nn.Module:
    """Return a config's image encoder of a few blocks for pictures of a few patches."""
    vision = open_clip.get_model_config(name)["vision_cfg"]
    if "timm_model_name" in vision:
        timm: Any = visual
        timm.trunk.blocks = timm.trunk.blocks[:BLOCKS]
        timm.set_input_size((PATCHES * timm.trunk.patch_embed.feat_ratio(),) * 2)
        return visual
    if isinstance(vision["layers"], list):
        return bare_visual(name, layers=[1] * len(vision["layers"]), image_size=SIDE)
    return bare_visual(name, layers=BLOCKS, image_size=PATCHES * vision["patch_size"])


def form(visual: nn.Module) -> str:
    """Return all that an encoder is but its weights: types, numbers, functions and shapes."""
    found = []
    for name, module in visual.named_modules():
        own = {
            key: getattr(value, "__qualname__", repr(value))
            for key, value in vars(module).items()
            if callable(value) or isinstance(value, (bool, int, float, str, tuple))
        }
        tensors = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        shapes = {key: tuple(tensor.shape) for key, tensor in tensors}
        found.append(f"{name} {type(module).__qualname__} {own} {shapes}")
    return "\n".join(found)


def filled(visual: nn.Module) -> nn.Module:
    """Return an image encoder from the meta device with random weights, in float64."""
    visual = visual.to_empty(device="cpu").double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in visual.parameters():
            scale = 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
            parameter.normal_(0, scale, generator=generator)
        for buffer in visual.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5, generator=generator)
            else:
                buffer.zero_()
    return visual.requires_grad_(False)


def sum_of_parts(visual: nn.Module) -> float:
    """Return the largest difference between the sum of parts and the tower's own output.

    Raises:
        DecompositionError: it is more than the check at a scan's start allows.
    """
    tower = tower_of(visual)
    last = tower.n_layers if tower.pool_layer is not None else tower.n_layers - 1
    decomposer = Decomposer(tower, head_frames(tower, [last]), mlp=True)
    size: Any = visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, 3, height, width, dtype=torch.float64, generator=generator)
    return decomposer.check(pixels)
