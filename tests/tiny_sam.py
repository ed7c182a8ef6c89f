"""Tiny SAMs of the real classes, saved as `save_pretrained` does: random, or taught four masks.

What is taught is that the positive points lie in the half that is meant, and the negative ones in
the other: left, right, top or bottom. Who swaps x with y, or positive with negative, gets another.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from pipeline.maps.shared import Points, points

SIDE, PATCH = 64, 16
WIDTH, HEIGHT = 60, 30
HALVES = ("left", "right", "top", "bottom")
DECODER = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "mlp_dim": 64,
    "iou_head_hidden_dim": 16,
    "num_hidden_layers": 2,
}
PROMPTS = {
    "hidden_size": 32,
    "image_size": SIDE,
    "patch_size": PATCH,
    "mask_input_channels": 4,
}


def tiny_sam(folder: Path, kind: str = "sam", *, steps: int = 0, rate: float = 4e-3) -> Path:
    """Save a SAM or SAM 2 that has been taught for so many steps, from random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = _sam() if kind == "sam" else _sam2()
        _begin(model)
        if steps:
            _teach(model, processor, steps, rate)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _begin(model: Any) -> None:
    """Draw weights by torch's own rules, and coarse places, the same for points and pixels.

    The package draws them for wide models, .02 for every weight: what comes out of narrow ones, and
    every gradient, is then 1e-8 or less, which no optimiser moves by. Frequencies of places it
    draws as half the width of the encoder, too fine for anything to be like its neighbour.
    """
    for part in model.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)):
            part.reset_parameters()
    # what SAM 2 sees at finer scales is noise here, and drowns what is taught
    for part in (getattr(model.mask_decoder, name, None) for name in ("conv_s0", "conv_s1")):
        if part is not None:
            part.weight.data.zero_()
    frequencies = 0.5 * torch.randn(2, PROMPTS["hidden_size"] // 2)
    for name, values in (*model.named_parameters(), *model.named_buffers()):
        if name.endswith("positional_embedding"):
            values.data.copy_(frequencies)


def _sam() -> tuple[Any, Any]:
    import transformers

    vision = {
        "hidden_size": 32,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
        "global_attn_indexes": [1],
        "window_size": 2,
        "num_pos_feats": 16,
    }
    config = transformers.SamConfig(
        vision_config=vision, prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER
    )
    pictures = transformers.SamImageProcessor(
        size={"longest_edge": SIDE},
        pad_size={"height": SIDE, "width": SIDE},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
    return transformers.SamModel(config).eval(), transformers.SamProcessor(pictures)


def _sam2() -> tuple[Any, Any]:
    import transformers

    widths = [4, 8, 12, 16]
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=widths[0],
        image_size=[SIDE, SIDE],
        window_positional_embedding_background_size=[4, 4],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[8, 4, 4, 2],
        global_attention_blocks=[3],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=widths[::-1],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    config = transformers.Sam2Config(
        vision_config=vision, prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER
    )
    pictures = transformers.Sam2ImageProcessor(
        size={"height": SIDE, "width": SIDE}, mask_size={"height": 16, "width": 16}
    )
    return transformers.Sam2Model(config).eval(), transformers.Sam2Processor(pictures)


def picture() -> Image.Image:
    """Return a picture that is not square and says nothing of what is meant."""
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def half(name: str) -> np.ndarray:
    """Return the mask of one half of the picture."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    found: np.ndarray = {
        "left": columns < WIDTH // 2,
        "right": columns >= WIDTH // 2,
        "top": rows < HEIGHT // 2,
        "bottom": rows >= HEIGHT // 2,
    }[name]
    return found


def hot_in(name: str) -> Points:
    """Return the points of a map that is hot in one half of the picture."""
    grid = F.interpolate(torch.from_numpy(half(name)).float()[None, None], (8, 12), mode="area")
    return points(grid[0, 0] + 0.01 * torch.rand(8, 12), WIDTH, HEIGHT)


def _teach(model: Any, processor: Any, steps: int, rate: float) -> None:
    """Teach the prompts and the decoder which half is meant."""
    seen = processor(images=picture(), return_tensors="pt")
    encoded = model.get_image_embeddings(seen["pixel_values"])
    # SAM pads below what is not square: what is there is no part of the lesson
    height, width = seen.get("reshaped_input_sizes", [[SIDE, SIDE]])[0]
    low = round(16 * int(height) / SIDE)
    targets = torch.from_numpy(np.stack([half(name) for name in HALVES])).float()
    targets = F.interpolate(targets[:, None], (low, 16), mode="area")
    scale = torch.tensor([int(width) / WIDTH, int(height) / HEIGHT])
    taught = [p for n, p in model.named_parameters() if not n.startswith("vision_encoder")]
    optimiser = torch.optim.Adam(taught, lr=rate)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - step / steps)
        asked = [hot_in(name) for name in HALVES]
        n = min(len(one.positive) for one in asked)
        places = torch.tensor([[*one.positive[:n], *one.negative[:n]] for one in asked]) * scale
        found = model(
            image_embeddings=encoded,
            input_points=places[None],
            input_labels=torch.tensor([1] * n + [0] * n).expand(1, len(asked), -1),
            multimask_output=True,
        ).pred_masks[0, :, :, :low]
        loss = F.binary_cross_entropy_with_logits(found, targets.expand_as(found))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
