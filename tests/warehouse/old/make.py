"""Make published.tar.xz: a warehouse as commit 4aa3376 wrote it, whose formats all are 1.

It is made by that commit's own program, in its own folder, with the packages of today:

    git worktree add ../old 4aa3376
    cd ../old
    PYTHONPATH=. python ../REPOSITORY/tests/warehouse/old/make.py ../REPOSITORY/tests/warehouse/old

The archive holds the pictures, the model, and the warehouse: a scan of two nights with one reject,
a pool, a basis, roles with attributes, a classifier with its logits, and the published database.
Times are whole seconds, so that what is unpacked is what was scanned. The model's token embeddings
repeat, so that they take little room.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

PICTURES, FIRST, SHARD = 14, 9, 4
WHEN = 1_700_000_000
VISION = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 16}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
TEXTS = [f"{size} {colour}" for colour in COLOURS for size in ("small", "large", "a picture of")]


def draw(folder: Path, numbers: range) -> None:
    """Draw pictures of one colour and a little noise, in a folder for each colour."""
    for number in numbers:
        colour = list(COLOURS)[number % len(COLOURS)]
        path = folder / colour / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 30, (8, 8, 3))
        pixels = np.clip(np.array(COLOURS[colour]) + noise - 15, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).resize((32, 32), Image.Resampling.NEAREST).save(path)
        os.utime(path, (WHEN, WHEN))


def save_model(folder: Path) -> None:
    """Write a CLIP of two layers of two heads, random but for the token embeddings."""
    config = {"embed_dim": 20, "vision_cfg": VISION, "text_cfg": TEXT}
    (folder / "model.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    open_clip.add_model_config(folder)
    weights = open_clip.create_model("model").state_dict()
    some = weights["token_embedding.weight"][:61]
    weights["token_embedding.weight"] = some.repeat(TEXT["vocab_size"] // 61 + 1, 1)[
        : TEXT["vocab_size"]
    ].contiguous()
    save_file(weights, folder / "model.safetensors")


def headatlas(*words: object) -> None:
    """Run the program of the folder that this is run in."""
    command = [sys.executable, "-c", "from jobs.cli import main; main()", *map(str, words)]
    subprocess.run(command, check=True)


def without_locks(file: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out the locks, which name a machine; all else belongs to nobody."""
    file.uid = file.gid = 0
    file.uname = file.gname = ""
    return None if file.name.endswith(".lock") else file


def main(out: Path) -> None:
    """Make everything, and the archive."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        where = ["--warehouse", root / "warehouse"]
        model = ["--model", root / "model.json", "--pretrained", root / "model.safetensors"]
        save_model(root)
        options = ["--labels", "folder", "--scan", "s", "--shard-size", SHARD, "--workers", 1]
        scan = ["scan", root / "pictures", *model, *where, *options]
        (root / "pictures" / "red").mkdir(parents=True)
        (root / "pictures" / "red" / "bad.png").write_bytes(b"not a picture")
        os.utime(root / "pictures" / "red" / "bad.png", (WHEN, WHEN))
        draw(root / "pictures", range(FIRST))
        headatlas(*scan, "--no-publish")
        draw(root / "pictures", range(FIRST, PICTURES))
        headatlas(*scan, "--no-publish")
        texts = "\n".join(["text,property", *(f"{t},{t.split()[-1]}" for t in TEXTS)])
        (root / "texts.csv").write_text(texts)
        headatlas("pool", "import", root / "texts.csv", *where, "--name", "small")
        headatlas("textspan", "--pool", "small", "-m", 4, *where, "--no-publish")
        headatlas("roles", "build", *where, "--turns", 8, "--permutations", 100, "--no-publish")
        headatlas("zeroshot", "labels", "--templates", "none", *where, "--no-publish")
        headatlas("publish", *where)
        out.mkdir(parents=True, exist_ok=True)
        with tarfile.open(out / "published.tar.xz", "w:xz", preset=9) as archive:
            archive.add(root, arcname=".", filter=without_locks)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
