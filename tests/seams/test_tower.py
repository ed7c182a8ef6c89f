"""A tower family is one file of `pipeline/towers/families/`: CONTRIBUTING.md's own, scanned."""

import json
import re
from pathlib import Path

from PIL import Image

from tests.seams.house import ROOT, build


def test_a_renamed_trunk_is_scanned_once_its_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    house = build(tmp_path / "house")
    (tmp_path / "pictures").mkdir()
    for i, colour in enumerate(("red", "green", "blue", "white")):
        Image.new("RGB", (40, 40), colour).save(tmp_path / "pictures" / f"{i}.png")
    vision = {"image_size": 32, "timm_model_name": "renamed_vit", "timm_pool": "token"}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 20, "vision_cfg": {**vision, "timm_proj": ""}, "text_cfg": text}
    (tmp_path / "mine.json").write_text(json.dumps(config))
    command = ("scan", tmp_path / "pictures", "--model", tmp_path / "mine.json")
    command += ("--pretrained", "none", "--warehouse", tmp_path / "atlas", "--workers", 0)

    before = house.run(*command, "--scan", "s")
    assert before.returncode == 2, before.stderr

    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    said = re.search(r"`pipeline/towers/families/renamed\.py`.*?```python\n(.*?)```", page, re.S)
    assert said is not None
    house.add("pipeline/towers/families/renamed.py", said[1])
    done = house.run(*command, "--scan", "s")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "atlas" / "scans" / "s" / "scan.json").read_text())
    assert (record["model"]["n_layers"], record["model"]["n_heads"]) == (2, 3)
