"""Half precision: half products on a single-precision residual stream lose little and add up."""

import json
from pathlib import Path

import pytest
import torch

from demo import world
from demo.model import CONFIG, WEIGHTS, normalise
from pipeline.heads.decompose import MIXED, Decomposer
from pipeline.heads.frames import head_frames
from pipeline.towers.half import hold_products
from pipeline.towers.models import load_model
from pipeline.towers.registry import tower_of
from schemas.config import Precision
from tests.timm_towers import FAMILIES, pictures, small_visual


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_parts_sum_and_stay_near_single_precision(precision: str) -> None:
    exact = load_model(str(CONFIG), str(WEIGHTS), "fp32")
    half = load_model(str(CONFIG), str(WEIGHTS), precision)
    drawn = world.batch("val", 0, 8, side=64)
    images = normalise(torch.from_numpy(drawn.images))
    layers = tuple(range(exact.record.n_layers))
    frames = head_frames(exact.tower, layers)
    expected = Decomposer(exact.tower, frames)(images)
    decomposer = Decomposer(half.tower, head_frames(half.tower, layers))
    assert decomposer.check(images.to(half.dtype)) <= MIXED
    found = decomposer(images.to(half.dtype))
    assert (found.embedding * expected.embedding).sum(-1).min() > 0.9999
    for layer in layers:
        ours = torch.einsum("bhw,hjw->bhj", found.vectors[layer], decomposer.q[layer])
        q = torch.from_numpy(frames.of(layer)).float()
        theirs = torch.einsum("bhw,hjw->bhj", expected.vectors[layer], q)
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


@pytest.mark.parametrize("name", [name for name in FAMILIES if "ResNet" not in name])
def test_timm_towers_run_in_half_precision(name: str) -> None:
    visual = small_visual(name)
    images = pictures(visual)
    expected = torch.nn.functional.normalize(tower_of(visual).own(images), dim=-1)
    visual = visual.to(torch.bfloat16)
    hold_products(visual, torch.bfloat16)
    tower = tower_of(visual)
    frames = head_frames(tower, tuple(range(tower.n_layers + (tower.pool_layer is not None))))
    decomposer = Decomposer(tower, frames)
    assert decomposer.check(images.to(torch.bfloat16)) <= MIXED
    found = decomposer(images.to(torch.bfloat16))
    assert (found.embedding.double() * expected).sum(-1).min() > 0.99


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize(
    "vision",
    [
        {"attentional_pool": True, "attn_pooler_heads": 4},
        {"pool_type": "avg", "ls_init_value": 0.3},
        {"pool_type": "avg", "final_ln_after_pool": True, "scale_attn": True, "scale_heads": True},
        {"layers": [1, 1, 1, 1], "width": 4, "head_width": 16, "image_size": 64},
    ],
    ids=["CoCa", "average after the norm, LayerScale", "custom, average before", "ResNet"],
)
def test_parts_of_open_clips_own_sum_in_half_precision(
    tiny_config: Path, tmp_path: Path, vision: dict[str, object], precision: Precision
) -> None:
    config = json.loads(tiny_config.read_text())
    config["vision_cfg"] |= vision
    (tmp_path / "half.json").write_text(json.dumps(config))
    loaded = load_model(str(tmp_path / "half.json"), "none", precision)
    layers = loaded.record.layers_of("all")
    decomposer = Decomposer(loaded.tower, head_frames(loaded.tower, layers))
    size = loaded.record.preprocessing.image_size
    images = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0))
    assert decomposer.check(images.to(loaded.dtype)) <= MIXED
