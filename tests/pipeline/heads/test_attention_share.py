"""Share of attention on marked tokens, token by token."""

import pytest
import torch

from pipeline.heads.attention_share import attention_shares
from pipeline.towers.registry import tower_of
from schemas.errors import UnsupportedModel
from tests.timm_towers import pictures, small_visual
from tests.towers import SUPPORTED, pixels, small_clip


@pytest.mark.parametrize("registers", [False, True])
def test_the_share_is_that_of_the_picture_s_own_tokens(registers: bool) -> None:
    visual = small_visual("timm token, LayerScale, registers") if registers else small_clip().visual
    tower = tower_of(visual)
    images = pictures(visual, 2) if registers else pixels(small_clip(), 2)
    marked = torch.rand(2, *tower.grid)
    found = attention_shares(tower, images, marked)
    x = tower.embed(images)
    for layer, block in enumerate(tower.blocks):
        q, k, _ = block.project(block.norm(x), None)
        alpha = (q @ k.mT / block.d_head**0.5).softmax(dim=-1)
        for image in range(2):
            for head in range(block.n_heads):
                on = total = 0.0
                for i in range(tower.grid[0] * tower.grid[1]):
                    weight = float(alpha[image, head, 0, tower.prefix + i])
                    on += weight * float(marked[image].flatten()[i])
                    total += weight
                assert float(found[image, layer, head]) == pytest.approx(on / total, abs=1e-6)
        x = block.after(x)
    everything = attention_shares(tower, images, torch.ones(2, *tower.grid))
    torch.testing.assert_close(everything, torch.ones_like(everything))


def test_without_a_class_token_there_is_none() -> None:
    clip = small_clip(**SUPPORTED["average before the last LayerNorm"])
    with pytest.raises(UnsupportedModel, match="reads no class token"):
        attention_shares(tower_of(clip.visual), pixels(clip, 1), torch.ones(1, 3, 3))
