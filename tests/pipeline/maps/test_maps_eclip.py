"""ECLIP: its formula, its checkpoint, and what is refused."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from demo.model import CONFIG
from jobs.commands import map as job
from jobs.commands.map import MapConfig
from pipeline.maps.methods.eclip import eclip, load_projections
from pipeline.maps.registry import DECLARED, METHODS, given_by, method_named, methods_named
from schemas.errors import UsageError
from tests.maps_literal import embedding, joint, layers_of, random_texts
from tests.towers import pixels, small_clip


def weights(d_joint: int = 20, wide: int = 7, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"image.weight": (wide, d_joint), "text.weight": (wide, d_joint)}
    shapes |= {"image.bias": (wide,), "text.bias": (wide,)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def written(path: Path, held: dict[str, torch.Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file({name: x.contiguous() for name, x in held.items()}, path)
    else:
        torch.save(held, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("options", [{}, {"pool_type": "avg", "final_ln_after_pool": True}])
def test_a_map_is_the_cosine_of_projected_tokens_and_texts(
    tmp_path: Path, name: str, biases: bool, options: dict[str, object]
) -> None:
    clip = small_clip(**options)
    images, texts = pixels(clip, 4), random_texts(20, 3)
    held = weights()
    if not biases:
        held = {key: x for key, x in held.items() if "bias" not in key}
    method = method_named("eclip", given_by(written(tmp_path / name, held))).run
    found = method(clip.visual, images, texts, texts)
    torch.testing.assert_close(found.embedding, embedding(clip, images), rtol=0, atol=1e-12)

    features = joint(clip.visual, layers_of(clip.visual, images)[-1].after)
    side = clip.visual.grid_size[1]
    for b in range(4):
        for i in range(1, features.shape[1]):
            f = held["image.weight"] @ features[b, i] + held.get("image.bias", 0)
            for k in range(3):
                t = held["text.weight"] @ texts[k] + held.get("text.bias", 0)
                value = found.values[b, k, (i - 1) // side, (i - 1) % side]
                assert float(value) == pytest.approx(float(f @ t / (f.norm() * t.norm())), 1e-9)

    alone = torch.cat([method(clip.visual, images[b : b + 1], texts, texts).values for b in [0, 3]])
    torch.testing.assert_close(found.values[[0, 3]], alone, rtol=1e-8, atol=1e-12)


def test_projections_that_change_nothing_give_the_plain_map(tmp_path: Path) -> None:
    clip = small_clip()
    images, texts = pixels(clip, 2), random_texts(20, 2, 3)
    same = {"image.weight": torch.eye(20), "text.weight": torch.eye(20)}
    projections = load_projections(written(tmp_path / "w.safetensors", same))
    plain = METHODS["tokens"].run(clip.visual, images, texts, texts[0])
    found = eclip(clip.visual, images, texts, texts[0], checkpoint=projections)
    torch.testing.assert_close(found.values, plain.values, rtol=1e-10, atol=1e-12)


def test_all_has_it_only_with_its_projections(tmp_path: Path) -> None:
    path = written(tmp_path / "w.pt", weights())
    assert "eclip" not in methods_named("all")
    assert list(methods_named("all", given_by(path))) == list(DECLARED)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text.weight": None}, "text.weight is missing; expected image.weight and text.weight"),
        ({"text.scale": torch.ones(3)}, "text.scale is not known"),
        ({"text.weight": torch.ones(7, 19)}, r"text.weight \[7, 19\]; expected"),
        ({"image.bias": torch.ones(6)}, r"image.bias \[6\]"),
        ({"image.weight": torch.full((7, 20), float("nan"))}, "image.weight holds no finite"),
        ({"image.weight": torch.ones(7, 20, dtype=torch.int64)}, "image.weight holds no finite"),
    ],
)
def test_another_checkpoint_is_refused_with_what_was_expected(
    tmp_path: Path, change: dict[str, torch.Tensor | None], said: str
) -> None:
    held = {key: x for key, x in (weights() | change).items() if x is not None}
    for name in ("w.pt", "w.safetensors"):
        with pytest.raises(UsageError, match=said):
            load_projections(written(tmp_path / name, held))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    for name in ("text.pt", "text.safetensors", "absent.pt", "list.pt"):
        with pytest.raises(UsageError, match="eclip checkpoint") as caught:
            load_projections(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_projections_of_another_model_are_refused(tmp_path: Path) -> None:
    clip = small_clip()
    method = method_named("eclip", given_by(written(tmp_path / "w.pt", weights(d_joint=21)))).run
    with pytest.raises(UsageError, match="take 21 numbers, this model's joint width is 20"):
        method(clip.visual, pixels(clip), random_texts(20, 2), random_texts(20, 2))


def test_the_command_draws_it_and_is_refused_without(tmp_path: Path) -> None:
    Image.new("RGB", (80, 64), "red").save(tmp_path / "a.png")
    values = {"image": tmp_path / "a.png", "texts": ("a ball", "a bird"), "method": "eclip"}
    values |= {"model": str(CONFIG), "pretrained": "none", "output": tmp_path / "map.png"}
    with pytest.raises(UsageError, match="--eclip"):
        job.run(MapConfig.checked(values))
    path = written(tmp_path / "w.safetensors", weights(d_joint=128))
    drawn = job.run(MapConfig.checked({**values, "eclip": path}))
    assert (tmp_path / "map.png").is_file() and len(drawn.values) == 2
