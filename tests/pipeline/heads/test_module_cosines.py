"""What modules add, against the residual stream itself; their cosines, literally."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from jobs.workers.module_cosines import whole_decomposer
from pipeline.heads.module_cosines import TARGETS, CosineSums, module_cosines
from pipeline.towers.registry import tower_of
from tests.pipeline.heads.test_effects import FAMILIES
from tests.towers import pixels, small_clip


@pytest.mark.parametrize("options", FAMILIES.values(), ids=FAMILIES.keys())
def test_modules_and_what_no_module_adds_sum_to_the_embedding(options: dict[str, object]) -> None:
    clip = small_clip(**options)
    tower, images = tower_of(clip.visual), pixels(clip, n=4)
    decomposer = whole_decomposer(tower)
    found = decomposer(images)
    modules = decomposer.modules(found)
    pool = tower.pool_layer
    trunk = sum(part for (_, layer), part in modules.items() if layer != pool)
    assert found.init is not None
    whole = decomposer.const / found.norm[:, None] + found.init + trunk
    if pool is None:
        torch.testing.assert_close(whole, found.embedding, atol=1e-10, rtol=0)
        assert sorted(modules) == [(m, n) for m in ("attention", "mlp") for n in range(3)]
        return
    # behind a pool: the pool's attention is the trunk's sum, with its own biases
    of_pool = sum(part for (_, layer), part in modules.items() if layer == pool)
    total = decomposer.const / found.norm[:, None] + of_pool
    torch.testing.assert_close(total, found.embedding, atol=1e-10, rtol=0)


def test_cosines_are_those_of_what_each_block_writes() -> None:
    clip = small_clip()
    tower, images = tower_of(clip.visual), pixels(clip, n=5)
    decomposer = whole_decomposer(tower)
    weights = normalize(torch.randn(4, 20, dtype=torch.float64), dim=1)
    truth = torch.tensor([0, 3, 1, 1, 2])
    cosines = module_cosines(decomposer, decomposer(images), weights, truth)
    visual = clip.visual
    embedding = normalize(visual(images), dim=1)
    logits = embedding @ weights.T
    logits[torch.arange(5), truth] = -2
    wrong = weights[logits.argmax(dim=1)]
    x = tower.embed(images)
    for layer, block in enumerate(visual.transformer.resblocks):
        for module in ("attention", "mlp"):
            added = (
                block.attention(block.ln_1(x))
                if module == "attention"
                else block.mlp(block.ln_2(x))
            )
            x = x + added
            # the last LayerNorm's map without its scale, which turns no vector
            own = added[:, 0] - added[:, 0].mean(dim=1, keepdim=True)
            point = (own * visual.ln_post.weight) @ visual.proj
            for i, text in enumerate((weights[truth], wrong, embedding)):
                expected = cosine_similarity(point, text, dim=1)
                torch.testing.assert_close(
                    cosines[module, layer][:, i], expected, atol=1e-10, rtol=0
                )


def test_sums_of_chunks_are_those_of_all() -> None:
    values = torch.rand(9, len(TARGETS), dtype=torch.float64)
    whole, parts = CosineSums(), CosineSums()
    whole.add({("mlp", 2): values})
    for chunk in values.split(4):
        one = CosineSums()
        one.add({("mlp", 2): chunk})
        parts.merge(CosineSums.from_table(one.to_table()))
    mean, deviation = parts.means(("mlp", 2))
    np.testing.assert_allclose(mean, values.mean(dim=0))
    np.testing.assert_allclose(deviation, values.std(dim=0, correction=0))
    np.testing.assert_allclose(whole.means(("mlp", 2))[0], mean)
