"""Checkpoints as people have them load to the same weights; the rest is one line of our own."""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from jobs.steps.early import check_model
from pipeline.towers.configs import check_config
from pipeline.towers.models import LoadedModel, Tokenizer, load_model
from schemas.errors import UsageError

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model(tiny_config: Path) -> LoadedModel:
    return load_model(str(tiny_config), "none")


def prefixed(prefix: str, wrapper: str | None = None) -> Callable[[State], Any]:
    def make(state: State) -> Any:
        named = {prefix + name: tensor for name, tensor in state.items()}
        return named if wrapper is None else {wrapper: named, "epoch": 3}

    return make


class Holder(torch.nn.Module):
    """What TorchScript saves: a module, here with a model's weights under their names."""

    def __init__(self, clip: torch.nn.Module) -> None:
        super().__init__()
        self.visual, self.transformer = clip.visual.conv1, torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.transformer(x)


@pytest.mark.parametrize(
    "make",
    [
        prefixed(""),
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        prefixed("model.", "state_dict"),
        prefixed("", "model"),
        prefixed("module.", "state_dict"),
        prefixed("student.backbone."),
        prefixed("", "state_dict_ema"),
        lambda state: {"nested": {"ema": prefixed("net.", "params")(state)}},
        lambda state: {"loss.weight": torch.ones(3), **prefixed("model.")(state)},
        lambda state: {"model": state, "ema": {name: v + 1 for name, v in state.items()}},
    ],
    ids=[
        "plain",
        "DDP",
        "compiled",
        "both",
        "Lightning",
        "wrapped",
        "open_clip's trainer",
        "distilled",
        "average",
        "deep",
        "with a loss",
        "beside its average",
    ],
)
def test_usual_prefixes_and_wrappers_load(
    model: LoadedModel, tiny_config: Path, tmp_path: Path, make: Callable[[State], Any]
) -> None:
    torch.save(make(model.clip.state_dict()), tmp_path / "weights.pt")
    loaded = load_model(str(tiny_config), str(tmp_path / "weights.pt"))
    assert loaded.record.weights_sha256 == model.record.weights_sha256


def _pointer(path: Path, model: LoadedModel) -> None:
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def _cut(path: Path, model: LoadedModel) -> None:
    save_file({"visual.proj": torch.ones(400)}, path.with_suffix(".whole"))
    path.write_bytes(path.with_suffix(".whole").read_bytes()[:90])


def _objects(path: Path, model: LoadedModel) -> None:
    torch.save({"args": argparse.Namespace(a=1), "state_dict": {}}, path)


def _whole_model(path: Path, model: LoadedModel) -> None:
    torch.save(model.clip, path)


def _text(path: Path, model: LoadedModel) -> None:
    path.write_text("not a checkpoint")


def _other_model(path: Path, model: LoadedModel) -> None:
    torch.save({k: v[..., :1] for k, v in model.clip.state_dict().items() if v.ndim > 1}, path)


def _half_of_it(path: Path, model: LoadedModel) -> None:
    state = model.clip.state_dict()
    torch.save({k: v for k, v in state.items() if "resblocks.1" not in k}, path)


def _two(path: Path, model: LoadedModel) -> None:
    state = model.clip.state_dict()
    torch.save({**prefixed("student.")(state), **prefixed("teacher.")(state)}, path)


def _nothing(path: Path, model: LoadedModel) -> None:
    torch.save({"epoch": 3}, path)


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("a.safetensors", _pointer, "Git LFS pointer"),
        ("b.safetensors", _cut, "no whole safetensors"),
        ("c.pt", _objects, "Python objects"),
        ("d.pt", _whole_model, "Python objects"),
        ("e.pt", _text, "no PyTorch checkpoint|Python objects"),
        ("f.pt", _other_model, "does not fit"),
        ("g.pt", _half_of_it, "lacks"),
        ("h.pt", _nothing, "no tensors by name; there is epoch"),
        ("i.pt", _two, "several models.*'student.', 'teacher.'"),
    ],
)
def test_what_is_no_checkpoint_of_this_model_is_one_line_of_our_own(
    model: LoadedModel,
    tiny_config: Path,
    tmp_path: Path,
    name: str,
    write: Callable[[Path, LoadedModel], None],
    words: str,
) -> None:
    path = tmp_path / name
    write(path, model)
    with pytest.raises(UsageError, match=words) as caught:
        load_model(str(tiny_config), str(path))
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["A.SAFETENSORS", "pytorch_model.bin", "x.pt", "weights"])
def test_safetensors_are_known_by_what_they_hold(
    model: LoadedModel, tiny_config: Path, tmp_path: Path, name: str
) -> None:
    save_file(model.clip.state_dict(), tmp_path / name)
    loaded = load_model(str(tiny_config), str(tmp_path / name))
    assert loaded.record.weights_sha256 == model.record.weights_sha256
    torch.save(model.clip.state_dict(), tmp_path / "y.safetensors")
    loaded = load_model(str(tiny_config), str(tmp_path / "y.safetensors"))
    assert loaded.record.weights_sha256 == model.record.weights_sha256


def test_torchscript_files_give_their_weights(tmp_path: Path, model: LoadedModel) -> None:
    from pipeline.towers.checkpoints import read_weights

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Holder(model.clip)).save(str(tmp_path / "jit.pt"))
    found = read_weights(tmp_path / "jit.pt")
    torch.testing.assert_close(found["visual.weight"], model.clip.visual.conv1.weight)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": "wide"}, "vision_cfg.width is 'wide'"),
        ({"patch_size": 0}, "patch_size is 0"),
        ({"image_size": 7, "patch_size": 16}, "smaller than patch_size"),
        ({"width": 25}, "no multiple"),
        ({"layers": -1}, "layers is -1"),
        ({"image_size": 2.5}, "image_size is 2.5"),
        ({"width": None}, "width is None"),
        ({"patch_size": None}, "patch_size is None"),
        ({"layers": [1, 1, 1, 1], "head_width": None}, "head_width is None"),
    ],
)
def test_a_config_with_wrong_sizes_is_one_line(
    tiny_config: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    config = json.loads(tiny_config.read_text())
    config["vision_cfg"] |= change
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match=words) as caught:
        load_model(str(path), "none")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_config_is_refused_without_the_model_by_its_text_tower_and_by_its_depth(
    tiny_config: Path, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.json"
    for name in ("context_length", "vocab_size"):
        config = json.loads(tiny_config.read_text())
        config["text_cfg"][name] = 0
        path.write_text(json.dumps(config))
        with pytest.raises(UsageError, match=f"text_cfg.{name} is 0"):
            check_model(str(path))
    path.write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(UsageError, match="is no JSON: nested too deeply"):
        check_model(str(path))


def test_a_path_that_is_not_there_is_known_without_the_model(
    tiny_config: Path, tmp_path: Path
) -> None:
    near = str(tiny_config.with_name("tinny.json"))
    with pytest.raises(UsageError, match=f"no model config {near}.*{tiny_config.name}"):
        check_model(near)
    gone = str(tmp_path / "gone.safetensors")
    with pytest.raises(UsageError, match=f"no file {gone}; expected a checkpoint of"):
        check_model(str(tiny_config), pretrained=gone)
    check_model(str(tiny_config), pretrained=str(tiny_config))


RESNET = {"layers": [1, 1, 1, 1], "width": 4, "head_width": 16, "image_size": 64}
TIMM = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "image_size": 224}


@pytest.mark.parametrize(
    "vision",
    [
        # as in open_clip's own RN50.json
        {**RESNET, "patch_size": None},
        {**TIMM, "patch_size": None, "layers": None, "width": None, "timm_proj": "linear"},
        # as in its ViTamin-*.json
        {**TIMM, "timm_proj": None, "timm_drop_path": None},
        {"timm_model_name": None, "ls_init_value": None, "norm_kwargs": None, "block_type": None},
    ],
    ids=["ResNet", "timm", "timm head", "own"],
)
def test_null_stands_for_what_a_tower_is_not_built_with(
    tiny_config: Path, tmp_path: Path, vision: dict[str, object]
) -> None:
    config = json.loads(tiny_config.read_text())
    own = config["vision_cfg"]
    config |= {"embed_dim": 64, "vision_cfg": vision if "image_size" in vision else own | vision}
    path = tmp_path / "nulls.json"
    path.write_text(json.dumps(config))
    assert load_model(str(path), "none").record.d_joint == 64


def test_every_config_of_open_clip_is_a_config_of_ones_own() -> None:
    folder = Path(open_clip.__file__).parent / "model_configs"
    for path in sorted(folder.glob("*.json")):
        check_config(path)


def test_a_local_folder_is_a_model(tiny_config: Path, tmp_path: Path, model: LoadedModel) -> None:
    config = json.loads(tiny_config.read_text())
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    save_file(model.clip.state_dict(), folder / "open_clip_model.safetensors")
    loaded = load_model(f"local-dir:{folder}", "folder")
    assert loaded.record.weights_sha256 == model.record.weights_sha256


def test_a_tokenizer_is_asked_only_for_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tokenizer = Tokenizer("ViT-B-16-SigLIP", 64)
    with pytest.raises(UsageError, match="need its tokenizer") as caught:
        tokenizer(["a"])
    assert "\n" not in str(caught.value)
