"""Traced contributions against a literal sum over layers, heads and tokens."""

import pytest
import torch

from pipeline.maps.methods.traced import traced_contribution
from schemas.errors import UnsupportedModel, UsageError
from tests.maps_literal import embedding, layers_of, random_texts
from tests.towers import pixels, small_clip


def scaled(x: torch.Tensor) -> torch.Tensor:
    return (x - x.min()) / (x.max() - x.min())


@pytest.mark.parametrize("options", [{}, {"ls_init_value": 0.3}, {"image_size": (8, 16)}])
@pytest.mark.parametrize("first", [0, 1])
def test_it_is_every_heads_part_traced_to_the_patches_times_rollout(
    options: dict[str, object], first: int
) -> None:
    clip = small_clip(**options)
    visual = clip.visual
    images, texts, labels = pixels(clip, 2), random_texts(20, 2), random_texts(20, 5, seed=9)
    found = traced_contribution(visual, images, texts, labels, first=first)
    torch.testing.assert_close(found.embedding, embedding(clip, images), rtol=0, atol=1e-12)

    layers, d = layers_of(visual, images), visual.transformer.resblocks[0].attn.head_dim
    last = visual.ln_post
    for b in range(2):
        rolled = [torch.eye(layers[0].x.shape[1], dtype=torch.float64)]
        for number, layer in enumerate(layers):
            hat = layer.a[b].mean(0) + rolled[0]
            step = torch.diag(1 / hat.sum(1)) @ hat if number >= first else rolled[0]
            rolled.append(step @ rolled[-1])
        for t, text in enumerate(texts):
            total = torch.zeros(layers[0].x.shape[1], dtype=torch.float64)
            for number, (layer, block) in enumerate(
                zip(layers, visual.transformer.resblocks, strict=True)
            ):
                for h in range(layer.a.shape[1]):
                    w = block.attn.out_proj.weight[:, h * d : (h + 1) * d]
                    for i in range(len(total)):
                        z = w @ (layer.a[b, h, 0, i] * layer.v[b, h, i])
                        z = z * getattr(block.ls_1, "gamma", 1.0)
                        c = ((z - z.mean()) * last.weight) @ visual.proj
                        part = c @ (text - labels.mean(0))
                        total = total + part * rolled[number][i]
            expected = (total[1:] - total[1:].min()) * scaled(rolled[-1][0, 1:])
            torch.testing.assert_close(
                found.values[b, t].flatten(), expected, rtol=1e-8, atol=1e-11
            )


def test_what_it_cannot_do_is_refused() -> None:
    clip = small_clip()
    text = random_texts(20, 1)
    with pytest.raises(UsageError, match="zero everywhere"):
        traced_contribution(clip.visual, pixels(clip), text, text)
    average = small_clip(pool_type="avg", final_ln_after_pool=True)
    with pytest.raises(UnsupportedModel, match="traced contribution reads the class token"):
        traced_contribution(average.visual, pixels(average), text, random_texts(20, 3))
