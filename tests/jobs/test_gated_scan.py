"""`headatlas scan --pool-mlp gated`: the pool's heads behind its MLP, from pictures to Parquet."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer

from jobs.commands import publish, textspan, verify
from jobs.commands.pool import import_ as pool_import
from jobs.commands.scan import ScanConfig, run
from jobs.steps.opened import open_scan
from pipeline.heads.summary import component_shares
from pipeline.towers.models import load_model
from schemas.errors import StaleScan, UnsupportedModel, UsageError
from tests.pipeline.heads.test_literal_families import Seen, literal
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.store.reading import read_layer

PICTURES = 12


@register_model
def tiny_siglip_for_tests(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """Return a trunk like SigLIP's, two layers of three heads of width 8 and a pool of them."""
    given = {key: options[key] for key in ("num_classes", "global_pool") if key in options}
    size = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return VisionTransformer(**size, class_token=False, mlp_ratio=2.0, init_values=0.5, **given)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with gated scans by one tiny SigLIP: of the pool, and of everything."""
    root = tmp_path_factory.mktemp("gated")
    rng = np.random.default_rng(0)
    (root / "pictures").mkdir()
    for i in range(PICTURES):
        pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "pictures" / f"{i:02}.png")
    vision = {"image_size": 16, "timm_model_name": "tiny_siglip_for_tests", "timm_pool": "map"}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 24, "vision_cfg": vision | {"timm_proj": "none"}, "text_cfg": text}
    (root / "tiny-map.json").write_text(json.dumps({**config, "custom_text": True}))
    for name, layers in (("pool", None), ("all", "all")):
        run(scan_config(root, scan=name, layers=layers))
    return root


def scan_config(root: Path, **options: object) -> ScanConfig:
    values = {
        "source": str(root / "pictures"),
        "model": str(root / "tiny-map.json"),
        "pretrained": "none",
        "warehouse": root / "atlas",
        "pool_mlp": "gated",
        "workers": 0,
        "shard_size": 8,
    }
    return ScanConfig.checked({**values, **options})


def test_parquet_holds_the_literal_sum_of_each_head_behind_the_mlp(made: Path) -> None:
    loaded = load_model(str(made / "tiny-map.json"), "none")
    paths = sorted((made / "pictures").iterdir())
    images = torch.stack([loaded.transform(Image.open(path)) for path in paths]).double()
    visual = loaded.visual.double()
    seen = Seen(visual, images)
    expected = literal(visual, seen, gated=True)
    norm = seen.own.norm(dim=-1, keepdim=True)
    for name, layers in (("pool", (2,)), ("all", (0, 1, 2))):
        opened = open_scan(Warehouse(made / "atlas"), name)
        assert opened.record.pool_mlp == "gated" and opened.record.layers == layers
        rows = [opened.images_of(shard, ["image_id", "key"]) for shard in opened.shards]
        keys = [key for table in rows for key in table["key"].to_pylist()]
        order = [keys.index(path.name) for path in paths]
        for layer in layers:
            parts = [read_layer(opened.scan, shard, layer).vectors for shard in opened.shards]
            stored = np.concatenate(parts, axis=1)[:, order].astype(np.float64)
            assert stored.shape == (3, PICTURES, 24)
            for head in range(3):
                c = (expected[layer, head] / norm).numpy()
                off = np.linalg.norm(stored[head] - c, axis=1)
                assert (off <= 2e-3 * np.linalg.norm(c, axis=1)).all()


def test_shares_of_the_parts_sum_to_one(made: Path) -> None:
    shares = component_shares(open_scan(Warehouse(made / "atlas"), "all").moments)
    last = {k: v for k, v in shares.items() if k[1] == 2 and k[0] != "pool_bias"}
    assert {k[0] for k in last} == {"head", "bias", "pool_mlp"}
    assert sum(last.values()) + shares["const", -1, -1] == pytest.approx(1, abs=2e-3)
    behind = ("bias", "pool_mlp")
    trunk = {k: v for k, v in shares.items() if k[1] != 2 or k[0] in (*behind, "pool_bias")}
    assert {"init", "mlp", "head", "pool_bias"} <= {k[0] for k in trunk}
    assert sum(trunk.values()) == pytest.approx(1, abs=2e-3)


def test_it_verifies_publishes_and_is_searched_but_spanned_by_no_text(made: Path) -> None:
    warehouse = made / "atlas"
    verify.run(verify.VerifyConfig(warehouse=warehouse))
    publish.run(publish.PublishConfig(warehouse=warehouse))
    house = Warehouse(warehouse)
    rows = query(house, "SELECT pool_mlp, pool_width FROM scans").to_pylist()
    assert rows == [{"pool_mlp": "gated", "pool_width": 8}] * 2
    near = "SELECT key FROM nearest_by_head('00.png', 'L2H1', k := 3, scan := 'pool')"
    assert len(query(house, near).to_pylist()) == 3
    (made / "words.txt").write_text("red\nblue\na bird\n")
    pool_import.run(pool_import.PoolImportConfig(file=made / "words.txt", warehouse=warehouse))
    with pytest.raises(UsageError, match="without --pool-mlp gated"):
        textspan.run(textspan.TextSpanConfig(warehouse=warehouse, pool="words", scan="pool"))


def test_another_split_of_the_same_scan_is_refused(made: Path) -> None:
    with pytest.raises(StaleScan, match=r"pool_mlp \(gated there, component now\)"):
        run(scan_config(made, scan="pool", pool_mlp="component"))


@pytest.mark.parametrize("vision", [{}, {"attentional_pool": True, "attn_pooler_heads": 2}])
def test_towers_without_such_an_mlp_are_refused_by_name(
    made: Path, tiny_config: Path, tmp_path: Path, vision: dict[str, object]
) -> None:
    config = json.loads(tiny_config.read_text())
    config["vision_cfg"] |= vision
    (tmp_path / "other.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModel, match="no MLP behind an attention pool") as refused:
        run(scan_config(made, scan="x", model=str(tmp_path / "other.json")))
    assert "\n" not in str(refused.value)
    assert not (made / "atlas" / "scans" / "x").exists()
