"""`headatlas map` on drawn pictures and a small random model: what is written and refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from demo.model import CONFIG
from demo.world import materialise
from jobs.commands import map as job
from jobs.commands.map import MapConfig
from jobs.steps.map_picture import STRONGEST
from pipeline.maps.picture import grid_for, whole_picture
from pipeline.maps.segmenter import Segmenter
from pipeline.maps.shared import points
from pipeline.towers.models import load_model
from schemas.errors import SourceError, UnknownName, UsageError
from tests.tiny_sam import tiny_sam


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "wide.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture(scope="module")
def world_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "data"
    materialise("test", root, 2)
    return root / "images" / "000001.png"


def config(picture: Path, *texts: str, **options: object) -> MapConfig:
    output = picture.with_name("out.png")
    values = {"image": picture, "texts": texts, "model": str(CONFIG), "output": output}
    values["pretrained"] = "none"
    return MapConfig.checked(values | options)


def test_a_wide_picture_keeps_its_aspect_and_each_text_has_a_panel(picture: Path) -> None:
    done = job.run(config(picture, "a cat", "a boat", "a tree"))
    assert done.values.shape == (3, 8, 16)
    assert done.titles == ("a cat", "a boat", "a tree")
    # three texts against their own mean
    torch.testing.assert_close(done.values.sum(0), torch.zeros(8, 16), atol=1e-6, rtol=0)
    with Image.open(done.path) as drawn:
        assert drawn.format == "PNG" and min(drawn.size) > 200


def test_heads_of_a_sheet_sum_to_the_map_of_all(picture: Path) -> None:
    whole = job.run(config(picture, "a cat"))
    sheet = job.run(config(picture, "a cat", per_head=True))
    assert len(sheet.titles) == STRONGEST
    layers = [job.run(config(picture, "a cat", layers=str(i))).values for i in range(6)]
    torch.testing.assert_close(sum(layers), whole.values, atol=1e-6, rtol=1e-4)
    name, _ = sheet.titles[0].split()
    # what works against the text is shown too, by how much it does
    amounts = [float(title.split()[1]) for title in sheet.titles]
    assert amounts == sorted(amounts, key=abs, reverse=True) and min(amounts) < 0 < max(amounts)
    alone = job.run(config(picture, "a cat", heads=name))
    torch.testing.assert_close(alone.values[0], sheet.values[0], atol=1e-7, rtol=1e-4)


def test_contrast_is_the_difference_and_points_lie_in_the_picture(picture: Path) -> None:
    both = job.run(config(picture, "a cat", "a boat", method="surgery"))
    done = job.run(config(picture, "a cat", "a boat", method="surgery", contrast=True, points=True))
    torch.testing.assert_close(done.values[0], both.values[0] - both.values[1])
    (found,) = done.points_json()
    assert found["title"] == "a cat − a boat"
    places = [*found["positive"], *found["negative"]]
    assert places and all(0 < x < 128 and 0 < y < 64 for x, y in places)


def test_a_square_picture_of_the_models_size_is_what_open_clip_makes_of_it() -> None:
    loaded = load_model(str(CONFIG), "none")
    noise = np.random.default_rng(1).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    square = Image.fromarray(noise)
    ours = whole_picture(square, loaded.record.preprocessing, (8, 8))
    torch.testing.assert_close(ours[0], loaded.transform(square), atol=1e-5, rtol=1e-5)


def test_a_segmenter_draws_a_mask_of_each_maps_points(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sam = tiny_sam(tmp_path / "sam")
    asked = config(picture, "a cat", "a boat", "a tree", sam=sam)
    plain = job.run(asked.model_copy(update={"sam": None}))
    before = np.asarray(Image.open(plain.path))
    done = job.run(asked)
    assert plain.masks == () and plain.points == ()
    with Image.open(picture) as opened:
        expected = Segmenter(sam, torch.device("cpu"))(
            opened.convert("RGB"), [points(one, 128, 64) for one in done.values]
        )
    for mask, same in zip(done.masks, expected, strict=True):
        assert mask.shape == (64, 128)
        np.testing.assert_array_equal(mask, same)
    assert (np.asarray(Image.open(done.path)) != before).any()
    job.say(asked, done)
    assert f"{done.masks[0].mean():.1%}" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no such folder; did you mean"):
        job.run(config(picture, "a", sam=tmp_path / "sap", model="no model is loaded first"))


@pytest.mark.parametrize(
    ("width", "height", "short", "grid"),
    [
        (64, 64, 64, (8, 8)),
        (640, 480, 224, (28, 37)),
        (10, 1000, 64, (32, 8)),
        (99, 64, 64, (8, 12)),
    ],
)
def test_grid_of_a_picture(width: int, height: int, short: int, grid: tuple[int, int]) -> None:
    assert grid_for(width, height, (8, 8), short) == grid


@pytest.mark.parametrize(
    ("texts", "options", "words"),
    [
        ((), {}, "give at least one text"),
        (("a",), {"contrast": True}, "expected exactly two"),
        (("a", "b"), {"per_head": True}, "give exactly one"),
        (("a",), {"method": "gem", "layers": "last:2"}, "no map of single heads"),
        (("a", "b"), {"method": "rollout", "contrast": True}, "same for all texts"),
        (("a",), {"heads": "L9H0"}, "layers 0 to 5"),
        (("a",), {"heads": "L0H0", "layers": "5"}, "no head is left"),
        (("a",), {"output": Path("map.jpg")}, "ending in .png"),
        (("a",), {"size": 4}, "at least a patch"),
        (("a",), {"role": "colour"}, "needs a warehouse"),
        (("a",), {"against": ("a",)}, "zero everywhere"),
    ],
)
def test_what_does_not_go_together_is_refused(
    picture: Path, texts: tuple[str, ...], options: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        job.run(config(picture, *texts, **options))


def test_wrong_names_and_pictures_are_refused(picture: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no method 'x'"):
        job.run(config(picture, "a", method="x"))
    with pytest.raises(SourceError, match="cannot read"):
        job.run(config(tmp_path / "none.png", "a"))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match="cannot use"):
        job.run(config(tmp_path / "bad.png", "a"))
    with pytest.raises(UsageError, match="no model"):
        job.run(MapConfig(image=picture, texts=("a",)))


def test_a_lone_word_has_weight_and_nothing_is_minus_zero(world_picture: Path) -> None:
    model = {"pretrained": str(CONFIG.with_suffix(".safetensors"))}
    done = job.run(config(world_picture, "octopus", method="grad-eclip", words=True, **model))
    ((word, value),) = done.words[0]
    assert word == "octopus" and value > 0
    for method in ("grad-eclip", "chefer-bimodal"):
        done = job.run(config(world_picture, "a red bird", method=method, words=True, **model))
        assert all(str(value)[0] != "-" for _, value in done.words[0])


def test_two_texts_are_compared_with_everyday_ones_and_are_no_mirror_image(picture: Path) -> None:
    for method in ("contribution", "surgery-features", "traced-contribution"):
        first, second = job.run(config(picture, "a cat", "a boat", method=method)).values
        mirrored = (first - first.mean()) + (second - second.mean())
        assert float(mirrored.abs().max()) > 0.05 * float(first.abs().max())
    given = job.run(config(picture, "a cat", "a boat", against=("a cat", "a boat"))).values
    torch.testing.assert_close(given[0], -given[1], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", ["contribution", "grad-eclip"])
def test_words_are_those_of_the_text(picture: Path, method: str) -> None:
    done = job.run(config(picture, "a red cat", "boats on water", method=method, words=True))
    assert [[word for word, _ in row] for row in done.words] == [
        ["a", "red", "cat"],
        ["boats", "on", "water"],
    ]
    assert all(value >= 0 for row in done.words for _, value in row)
