"""Every config of open_clip: does a scan of it start, and do its parts sum.

Each image encoder keeps its class, options and widths, and has its first two blocks and random
weights, float64, on two pictures of noise: what is tried is the arithmetic of its class.
"""

import torch
from open_clip import list_models, list_pretrained_tags_by_model
from torch import nn

from benchmarks.rows import Row
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.towers.listing import bare_visual
from pipeline.towers.registry import tower_of
from schemas.errors import UnsupportedModel

BLOCKS = 2
BAR = 1e-10


def run(names: list[str] | None = None) -> list[Row]:
    """Try each config; one row each, and how many of how many."""
    rows, able, tags = [], 0, 0
    names = names or list_models()
    for name in names:
        visual = bare_visual(name)
        try:
            tower_of(visual, name)
        except UnsupportedModel as error:
            rows.append(Row(f"{name}: refused", 0.0, "", None, str(error)))
            continue
        off = sum_of_parts(cut_and_filled(visual))
        able += off <= BAR
        tags += len(list_pretrained_tags_by_model(name)) if off <= BAR else 0
        rows.append(Row(f"{name}: largest difference of parts' sum", off, "", BAR, "float64"))
        print(f"{name}\t{off:.1e}", flush=True)
    rows.append(Row("configs whose parts sum", able, f"of {len(names)}", None, f"{tags} tags"))
    return rows


def cut_and_filled(visual: nn.Module) -> nn.Module:
    """Return an image encoder from the meta device with its first blocks and random weights."""
    for owner, name in ((getattr(visual, "transformer", None), "resblocks"), (visual, "trunk")):
        part = getattr(visual, "trunk", None) if name == "trunk" else owner
        blocks = "blocks" if name == "trunk" else "resblocks"
        if part is not None and hasattr(part, blocks):
            setattr(part, blocks, getattr(part, blocks)[:BLOCKS])
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


@torch.inference_mode()
def sum_of_parts(visual: nn.Module) -> float:
    """Return the largest difference between the sum of parts and the tower's own output."""
    tower = tower_of(visual)
    last = tower.n_layers if tower.pool_layer is not None else tower.n_layers - 1
    decomposer = Decomposer(tower, head_frames(tower, [last]), mlp=True)
    size = visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    pixels = torch.randn(2, 3, height, width, dtype=torch.float64)
    return decomposer.check(pixels)
