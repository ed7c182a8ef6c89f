"""What holds for every method: encode_image, batch invariance, other sizes, the model untouched."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.maps import names
from pipeline.maps.base import Maps
from pipeline.maps.names import check_methods, declared_names
from pipeline.maps.registry import DECLARED, METHODS, method_named, methods_named
from pipeline.maps.shared import min_max, points, resize
from schemas.errors import UnknownName, UsageError
from tests.maps_literal import embedding, random_texts
from tests.towers import pixels, small_clip

every = pytest.mark.parametrize("name", METHODS)


@every
def test_embedding_is_encode_image_and_the_batch_does_not_matter(name: str) -> None:
    clip = small_clip(ls_init_value=0.3)
    before = {k: v.clone() for k, v in clip.state_dict().items()}
    images, texts, labels = pixels(clip, 4), random_texts(20, 3), random_texts(20, 5, seed=2)
    together = METHODS[name].run(clip.visual, images, texts, labels)
    torch.testing.assert_close(together.embedding, embedding(clip, images), rtol=0, atol=1e-12)
    alone = [METHODS[name].run(clip.visual, images[i : i + 1], texts, labels) for i in range(4)]
    each = torch.cat([one.values for one in alone])
    scale = float(each.abs().max())
    torch.testing.assert_close(together.values, each, rtol=1e-8, atol=1e-11 * scale)
    for key, weight in clip.state_dict().items():
        assert torch.equal(weight, before[key]) and not weight.requires_grad
    assert not any(module._forward_hooks for module in clip.modules())


@every
@pytest.mark.parametrize("size", [(8, 20), (16, 16)])
def test_other_picture_sizes(name: str, size: tuple[int, int]) -> None:
    clip = small_clip()
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    texts = random_texts(20, 2, 3)
    found = METHODS[name].run(clip.visual, images, texts, random_texts(20, 5))
    assert found.values.shape == (2, 3, size[0] // 4, size[1] // 4)
    assert torch.isfinite(found.values).all()


@every
def test_maps_differ_by_text_where_the_method_says_so(name: str) -> None:
    clip = small_clip()
    texts = random_texts(20, 2)
    values = METHODS[name].run(clip.visual, pixels(clip), texts, texts).values
    assert torch.equal(values[:, 0], values[:, 1]) != METHODS[name].by_text


@every
def test_single_precision_agrees_with_double(name: str) -> None:
    clip = small_clip()
    images, texts, labels = pixels(clip), random_texts(20, 2), random_texts(20, 5)
    exact = METHODS[name].run(clip.visual, images, texts, labels).values
    rough = small_clip().float()
    found: Maps = METHODS[name].run(rough.visual, images.float(), texts.float(), labels.float())
    assert found.values.dtype == torch.float32
    scale = float(exact.abs().max())
    torch.testing.assert_close(found.values.double(), exact, rtol=1e-2, atol=1e-3 * scale)


def test_names() -> None:
    assert methods_named("all") == METHODS
    assert list(methods_named("tokens, gem,tokens")) == ["tokens", "gem"]
    with pytest.raises(UnknownName, match="no method 'saliency'; there is "):
        methods_named("tokens,saliency")
    with pytest.raises(UsageError, match="give their file with --eclip"):
        method_named("eclip")
    with pytest.raises(UsageError, match="expected all"):
        methods_named(" , ")
    assert declared_names() == tuple(DECLARED)


def test_a_name_that_cannot_be_read_off_a_file_is_refused_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.py").write_text('@map_method("one", title="1")\ndef one():\n    pass\n')
    monkeypatch.setattr(names, "METHODS_FOLDER", tmp_path)
    check_methods(["one:layers=all"])
    with pytest.raises(UnknownName, match="no method 'oen'; there is one; did you mean one"):
        check_methods(["one", "oen"])
    (tmp_path / "two.py").write_text("@map_method(NAME)\ndef two():\n    pass\n")
    check_methods(["oen"])


def test_min_max_and_resize() -> None:
    values = torch.tensor([[[[0.0, 2.0], [4.0, 8.0]], [[3.0, 3.0], [3.0, 3.0]]]])
    scaled = min_max(values)
    torch.testing.assert_close(scaled[0, 0], torch.tensor([[0.0, 0.25], [0.5, 1.0]]))
    torch.testing.assert_close(scaled[0, 1], torch.zeros(2, 2))
    # cell centres of the small map are at a quarter and three quarters of each side
    wide = resize(values, (2, 4))[0, 0]
    torch.testing.assert_close(wide, torch.tensor([[0, 0.5, 1.5, 2], [4, 5, 7, 8]]))


def test_points_are_the_strongest_and_weakest_cells_in_pixels_of_the_picture() -> None:
    values = torch.zeros(8, 8)
    values[0:2, 6:8] = 1.0
    values[4:6, 0:2] = 0.9
    values[6:8, 6:8] = -1.0
    found = points(values, width=400, height=200)
    # four cells a side: 100 x 50 pixels each
    assert found.positive == ((350.0, 25.0), (50.0, 125.0))
    assert found.negative[0] == (350.0, 175.0)
    assert len(found.negative) == 2
    assert len(points(torch.ones(8, 8), 10, 10).positive) == 0
    # a hot cell beside a warm one: the point is on the hot one
    values[0, 6] = 0.5
    assert (325.0, 12.5) not in points(values, width=400, height=200).positive
    flat_top = torch.ones(8, 8)
    flat_top[0, 0] = 0.0
    assert len(points(flat_top, 10, 10).positive) == 8


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.data())
def test_one_hot_cell_gives_one_point_on_it_on_every_grid(
    rows: int, columns: int, data: st.DataObject
) -> None:
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    values = torch.zeros(rows, columns)
    values[row, column] = 1.0
    found = points(values, width=10 * columns, height=10 * rows)
    if rows * columns > 4:
        assert found.positive == (((column + 0.5) * 10, (row + 0.5) * 10),)
        (x, y), *_ = found.negative
        assert (int(x // 10), int(y // 10)) != (column, row)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_points_lie_in_windows_that_share_out_the_grid(rows: int, columns: int, seed: int) -> None:
    values = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))
    found = points(values, width=10 * columns, height=10 * rows)
    cells = [(int(x // 20), int(y // 20)) for x, y in (*found.positive, *found.negative)]
    assert len(set(cells)) == len(cells)
    assert len(found.positive) == len(found.negative) <= -(-rows // 2) * -(-columns // 2) // 2
