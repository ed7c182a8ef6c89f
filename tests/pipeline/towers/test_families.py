"""Invariant 10: for every read-out and block, the parts sum to the tower's own output."""

import pytest
import torch

from pipeline.heads.decompose import KEPT, Decomposer
from pipeline.heads.frames import head_frames
from pipeline.towers.listing import bare_visual
from pipeline.towers.registry import tower_of
from pipeline.towers.tower import Tower
from schemas.errors import UnsupportedModel
from tests.timm_towers import FAMILIES, pictures, small_visual
from tests.towers import pixels, small_clip

OWN = {
    "average after the last LayerNorm": {"pool_type": "avg"},
    "token output": {"output_tokens": True},
    "CoCa's pooler": {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 5},
    "CoCa's pooler as wide as the trunk": {
        "attentional_pool": True,
        "attn_pooler_heads": 4,
        "d_joint": 24,
    },
    "custom block": {"block_type": "custom"},
    "all of the custom block": {
        "qk_norm": True,
        "scale_heads": True,
        "scale_attn_inner": True,
        "scale_attn": True,
        "scale_fc": True,
        "ls_init_value": 0.3,
    },
    "scaled heads, average before": {"scale_heads": True, "scale_attn": True, "pool_type": "avg"},
    "heads of 10, qk-norm, scaled heads, LayerScale, average": {
        "width": 40,
        "head_width": 10,
        "layers": 2,
        "qk_norm": True,
        "scale_heads": True,
        "ls_init_value": 0.3,
        "pool_type": "avg",
    },
    "all of the custom block, average before, another eps": {
        "width": 36,
        "head_width": 12,
        "layers": 2,
        "qk_norm": True,
        "scale_heads": True,
        "scale_attn_inner": True,
        "scale_attn": True,
        "scale_fc": True,
        "ls_init_value": 0.5,
        "norm_kwargs": {"eps": 1e-3},
        "pool_type": "avg",
        "final_ln_after_pool": True,
    },
    "heads of 16, CoCa's pooler of heads of 5": {
        "width": 48,
        "head_width": 16,
        "layers": 2,
        "scale_attn": True,
        "no_ln_pre": True,
        "attentional_pool": True,
        "attn_pooler_heads": 4,
        "attn_pooler_queries": 1,
    },
    "custom block, CoCa's pooler": {
        "scale_attn": True,
        "scale_attn_inner": True,
        "attentional_pool": True,
        "attn_pooler_heads": 4,
    },
}


def own_tower(name: str, seed: int = 0) -> tuple[Tower, torch.Tensor]:
    clip = small_clip(seed=seed, **OWN[name])
    with torch.no_grad():
        for key, parameter in clip.visual.named_parameters():
            if parameter.ndim == 3 and "scale" in key:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return tower_of(clip.visual), pixels(clip)


def other_tower(name: str, seed: int = 0) -> tuple[Tower, torch.Tensor]:
    visual = small_visual(name, seed)
    return tower_of(visual), pictures(visual)


TOWERS = [pytest.param(own_tower, name, id=name) for name in OWN]
TOWERS += [pytest.param(other_tower, name, id=name) for name in FAMILIES]


def all_layers(tower: Tower) -> tuple[int, ...]:
    return tuple(range(tower.n_layers + (tower.pool_layer is not None)))


def test_a_batch_that_is_kept_in_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tower, images = other_tower("timm map (SigLIP)")
    decomposer = Decomposer(tower, head_frames(tower, all_layers(tower)))
    whole = decomposer(images)
    monkeypatch.setitem(KEPT, "cpu", 1)
    monkeypatch.setattr("pipeline.heads.decompose.TOKENS", 1)
    parts = decomposer(images)
    torch.testing.assert_close(parts.embedding, whole.embedding)
    torch.testing.assert_close(parts.mlp, whole.mlp)
    for layer in all_layers(tower):
        torch.testing.assert_close(parts.vectors[layer], whole.vectors[layer])


def test_the_grid_is_that_of_the_pictures_that_a_config_names() -> None:
    """The trunk's name says 384, the config 256 pixels: without positions it takes any."""
    assert tower_of(bare_visual("ViTamin-XL-384")).grid == (16, 16)
    with pytest.raises(UnsupportedModel, match=r"image_size is 192 x 192.*256 x 256 pixels alone"):
        tower_of(bare_visual("vit_medium_patch16_gap_256", image_size=192))


@pytest.mark.parametrize(("made", "name"), TOWERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_parts_sum_to_the_towers_own_output(made: object, name: str, seed: int) -> None:
    tower, images = made(name, seed)
    torch.testing.assert_close(tower.encode(images), tower.own(images), atol=1e-10, rtol=1e-10)
    every = all_layers(tower)
    for layers in {every, every[-1:], every[:1], every[:-1] or every}:
        assert Decomposer(tower, head_frames(tower, layers)).check(images) < 1e-10
    # with MLPs of the trunk beside the pool's heads; a ResNet has none
    assert Decomposer(tower, head_frames(tower, every[-1:]), mlp=True).check(images) < 1e-10
