"""The explorer's maps are `headatlas map`'s: by every method, for towers of other families too."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from starlette.testclient import TestClient

from demo.model import CONFIG
from jobs.commands import explore
from jobs.commands import map as job
from jobs.commands.explore import ExploreConfig
from jobs.commands.map import MapConfig
from jobs.explore.app import application
from jobs.explore.explorer import Explorer
from jobs.explore.heat import SIDE, Asked, draw, values_of
from pipeline.maps.registry import DECLARED, given_by
from pipeline.towers.models import LoadedModel, load_model
from schemas.errors import HeadAtlasError, UsageError
from warehouse.files.layout import Warehouse

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
POOLED = {"image_size": 16, "patch_size": 4, "width": 24, "head_width": 8, "layers": 2}
POOLED |= {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 3}
TIMM = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "avg", "timm_proj": "linear"}
TIMM |= {"image_size": 224}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("heat") / "wide.png"
    noise = np.random.default_rng(0).integers(0, 255, (24, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, LoadedModel]]:
    root = tmp_path_factory.mktemp("configs")
    paths = {"own": str(CONFIG)}
    for name, vision in (("pooled", POOLED), ("timm", TIMM)):
        path = root / f"{name}.json"
        path.write_text(json.dumps({"embed_dim": 64, "vision_cfg": vision, "text_cfg": TEXT}))
        paths[name] = str(path)
    torch.manual_seed(0)
    return {name: (path, load_model(path, "none")) for name, path in paths.items()}


@pytest.fixture(scope="module")
def projections(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a checkpoint for `eclip` by tower: for the joint width that each has."""
    folder = tmp_path_factory.mktemp("projections")
    generator = torch.Generator().manual_seed(0)
    found = {}
    for tower, d_joint in (("own", 128), ("timm", 64), ("pooled", 64)):
        found[tower] = folder / f"{tower}.safetensors"
        weights = ("image.weight", "text.weight")
        held = {name: torch.randn(7, d_joint, generator=generator) for name in weights}
        save_file(held, found[tower])
    return found


def asked_of_the_command(
    picture: Path, model: str, asked: Asked, eclip: Path | None = None
) -> torch.Tensor:
    """Return the map that `headatlas map` draws."""
    config = MapConfig.checked(
        {
            "image": picture,
            "texts": tuple(text for text in (asked.text, asked.against) if text),
            "contrast": bool(asked.against),
            "method": asked.method,
            "heads": (asked.head,) if asked.head else (),
            "model": model,
            "pretrained": "none",
            "eclip": eclip,
            "output": picture.with_suffix(".map.png"),
        }
    )
    return job.run(config).values[0]


@pytest.mark.parametrize(
    ("method", "tower"),
    [*((name, "own") for name in DECLARED), *((name, "timm") for name in ("contribution", "gem"))]
    + [(name, "pooled") for name in ("contribution", "lrp")],
)
def test_a_map_is_the_commands_by_every_method(
    models: dict[str, tuple[str, LoadedModel]],
    picture: Path,
    projections: dict[str, Path],
    method: str,
    tower: str,
) -> None:
    path, model = models[tower]
    asked, given = Asked("a cat", method=method), given_by(projections[tower])
    with Image.open(picture) as opened:
        rgb = opened.convert("RGB")
    torch.manual_seed(0)
    try:
        expected = asked_of_the_command(picture, path, asked, projections[tower])
    except HeadAtlasError as refusal:
        with pytest.raises(type(refusal)) as said:
            values_of(model, rgb, asked, given)
        assert str(said.value) == str(refusal)
        return
    found, _ = values_of(model, rgb, asked, given)
    torch.testing.assert_close(found.float(), expected.float(), atol=1e-5, rtol=1e-4)
    assert draw(model, rgb, asked, given).size == (SIDE, SIDE // 2)


@pytest.mark.parametrize(("tower", "head"), [("own", "L1H2"), ("pooled", "L2H1")])
def test_a_contrast_and_a_head_are_the_commands(
    models: dict[str, tuple[str, LoadedModel]], picture: Path, tower: str, head: str
) -> None:
    path, model = models[tower]
    with Image.open(picture) as opened:
        rgb = opened.convert("RGB")
    for asked in (
        Asked("a cat", "a boat"),
        Asked("a cat", head=head),
        Asked("a cat", "a boat", head=head),
    ):
        found, signed = values_of(model, rgb, asked)
        expected = asked_of_the_command(picture, path, asked)
        torch.testing.assert_close(found.float(), expected.float(), atol=1e-5, rtol=1e-4)
        assert signed


def test_what_cannot_be_drawn_is_said(
    models: dict[str, tuple[str, LoadedModel]], picture: Path
) -> None:
    with Image.open(picture) as opened:
        rgb = opened.convert("RGB")
    for tower, asked, words in (
        ("own", Asked("a cat", head="L9H0"), "no head L9H0: this model has layers 0 to 5"),
        ("own", Asked("a cat", method="gradcam", head="L1H0"), "leave the head out"),
        ("own", Asked("a cat", "a boat", method="attention"), "nothing to contrast"),
        ("own", Asked("a cat", method="gradients"), "no map method 'gradients'"),
        # an option that is a path: a page reads no file that a URL names
        ("own", Asked("a cat", method="eclip:checkpoint=/etc/passwd"), "no map method 'eclip:"),
        ("own", Asked("a cat", method="eclip"), "give their file with --eclip .*explore"),
        ("pooled", Asked("a cat", head="L1H2"), "ask for its heads, L2H0 to L2H3"),
    ):
        with pytest.raises(UsageError, match=words):
            values_of(models[tower][1], rgb, asked)


def test_all_methods_are_offered_and_what_one_needs_is_said(
    explored: Warehouse, projections: dict[str, Path]
) -> None:
    query = {"scan": "world", "image_id": "1", "text": "an octopus", "method": "eclip"}
    client = TestClient(application(Explorer.over(explored), hosts=(), token=None))
    assert client.get("/methods").json() == list(DECLARED)
    refused = client.get("/heat.png", params=query)
    assert refused.status_code == 400
    assert refused.text.startswith("eclip needs two projections that were trained for the model")
    given = Explorer.over(explored, projections["own"])
    client = TestClient(application(given, hosts=(), token=None))
    drawn = client.get("/heat.png", params=query)
    assert drawn.headers["content-type"] == "image/png", drawn.text
    # whoever starts the explorer names a file; an address never does
    path = projections["own"]
    named = client.get("/heat.png", params={**query, "method": f"eclip:checkpoint={path}"})
    assert (named.status_code, "no map method" in named.text) == (404, True)


def test_projections_that_are_not_there_are_missed_at_the_start(explored: Warehouse) -> None:
    config = ExploreConfig(warehouse=explored.root, eclip=explored.root / "no.safetensors")
    with pytest.raises(UsageError, match=r"no\.safetensors is no file"):
        explore.run(config)
