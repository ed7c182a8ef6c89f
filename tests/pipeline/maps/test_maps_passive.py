"""Options of methods without gradients, and what follows from their formulas.

Their maps with the options as published, on every family: test_maps_families.py.
"""

import pytest
import torch

from pipeline.maps.methods import gem, last_block, rollout, surgery, tokens
from schemas.errors import UnsupportedModel, UsageError
from tests.literal_tower import LiteralTower
from tests.maps_literal import embedding, random_texts
from tests.pipeline.maps import literal_methods
from tests.towers import pixels, small_clip


def test_rollout_from_the_very_first_layer() -> None:
    clip = small_clip()
    images, texts = pixels(clip), random_texts(20, 2)
    found = rollout.rollout(clip.visual, images, texts, texts, first=0).values
    tower = LiteralTower(clip.visual, images)
    for b in range(3):
        row = literal_methods.rolled_out(tower, b, first=0)[-1][0, 1:]
        for t in range(2):
            torch.testing.assert_close(found[b, t].flatten(), row, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("iterations", [0, 2])
def test_gem_with_other_rounds(iterations: int) -> None:
    clip = small_clip()
    images, texts = pixels(clip), random_texts(20, 2)
    found = gem.gem(clip.visual, images, texts, texts, iterations=iterations).values
    tower = LiteralTower(clip.visual, images)
    for b in range(3):
        for t, text in enumerate(texts):
            row = literal_methods.gem(tower, b, text, texts, rounds=iterations)
            torch.testing.assert_close(found[b, t].flatten(), row, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2])
def test_the_paths_part_so_many_blocks_before_the_end(depth: int) -> None:
    clip = small_clip()
    images = pixels(clip)
    found, cls = surgery.second_path(clip.visual, images, surgery.value_value, depth)
    tower = LiteralTower(clip.visual, images)
    other = literal_methods.second_path(tower, literal_methods.value_value, depth)
    torch.testing.assert_close(found[:, 1:], tower.joint(other)[:, 1:])
    torch.testing.assert_close(cls, tower.joint(tower.z[:, 0]))


def test_feature_surgery_of_one_text_is_its_difference_from_the_empty_text() -> None:
    clip = small_clip()
    images, text, empty = pixels(clip), random_texts(20, 1), random_texts(20, 1, seed=3)
    found = surgery.feature_surgery(clip.visual, images, text, empty).values
    plain = surgery.surgery(clip.visual, images, torch.cat([text, empty]), empty).values
    torch.testing.assert_close(found[:, 0], plain[:, 0] - plain[:, 1])
    with pytest.raises(UsageError, match="zero everywhere"):
        surgery.feature_surgery(clip.visual, images, text, text)


def test_feature_surgery_sums_to_zero_over_the_label_set() -> None:
    clip = small_clip()
    labels = random_texts(20, 6)
    values = surgery.feature_surgery(clip.visual, pixels(clip), labels, labels).values
    torch.testing.assert_close(values.sum(1), torch.zeros_like(values[:, 0]), atol=1e-12, rtol=0)


def test_methods_of_the_class_token_refuse_average_pooling() -> None:
    clip = small_clip(pool_type="avg", final_ln_after_pool=True)
    texts = random_texts(20, 2)
    with pytest.raises(UnsupportedModel, match="NACLIP reads the class token"):
        last_block.naclip(clip.visual, pixels(clip), texts, texts)
    found = tokens.tokens(clip.visual, pixels(clip), texts, texts)
    torch.testing.assert_close(found.embedding, embedding(clip, pixels(clip)))
