"""Scans from end to end: real files, a small CLIP with random weights; by Ray in `ray/`."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from jobs.commands import scan
from jobs.commands.scan import ScanConfig
from pipeline.heads.stored_frames import load_frames
from pipeline.towers.models import load_model
from schemas.errors import StaleScan, TooManyRejects, UsageError
from tests.conftest import scan_config as config
from tests.hostile import hostile_pictures
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.reading import matrix, read_head, read_images, read_rejects
from warehouse.store.verify import verify


def everything(warehouse: Path) -> dict[str, np.ndarray]:
    """Return all that a scan stores, by picture's key, sorted."""
    scanned = Warehouse(warehouse).scan("s")
    shards = [live.shard for live in snapshots.latest(scanned).shards]
    images = read_images(scanned, shards)
    order = np.argsort(images["key"].to_pylist())
    found = {
        "key": np.array(images["key"].to_pylist())[order],
        "image_id": images["image_id"].to_numpy()[order],
        "embedding": matrix(images["embedding"])[order],
    }
    for layer in scanned.load_record().layers:
        for head in range(3):
            ids, vectors = read_head(scanned, shards, layer, head)
            np.testing.assert_array_equal(ids, images["image_id"].to_numpy())
            found[f"L{layer}H{head}"] = vectors[order]
    return found


def assert_equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def test_q_vector_in_the_files_is_the_heads_part_of_encode_image(
    scanned: Path, world: Path, tiny_config: Path
) -> None:
    """The stored parts and the files' embedding come from the pictures, by open_clip's own path."""
    model = load_model(str(tiny_config), "none", device=torch.device("cpu"))
    found = everything(scanned)
    pictures = [world.parent / key for key in found["key"][:8]]
    pixels = torch.stack([model.transform(Image.open(p).convert("RGB")) for p in pictures])
    with torch.inference_mode():
        own = torch.nn.functional.normalize(model.clip.encode_image(pixels), dim=-1).numpy()
    np.testing.assert_allclose(found["embedding"][:8], own, atol=1e-6)

    record = Warehouse(scanned).scan("s").load_record()
    frames = load_frames(Warehouse(scanned).scan("s").frames, record.frames_sha256)
    from tests.pipeline.heads.test_decompose import literal

    visual = model.visual.double()
    terms = literal(visual, pixels.double())
    norm = visual(pixels.double()).norm(dim=-1, keepdim=True)
    for layer in range(3):
        for head in range(3):
            stored = found[f"L{layer}H{head}"][:8].astype(np.float64)
            c = stored @ frames.q[layer, head].T
            expected = (terms[f"head {layer} {head}"] / norm).numpy()
            np.testing.assert_allclose(c, expected, atol=2e-3 * np.abs(expected).max() + 1e-7)


def test_a_finished_scan_verifies_and_names_its_numbers(scanned: Path) -> None:
    store = Warehouse(scanned).scan("s")
    assert verify(store).problems == ()
    record = store.load_record()
    assert record.zero_shot is not None
    assert record.zero_shot["images"] == 240
    sizes = [p.stat().st_size for p in store.shards.rglob("contributions.parquet")]
    assert sum(sizes) <= 240 * 9 * 8 * 2.2 * 4  # small shards carry their footers


def test_running_again_scans_nothing_and_commits_nothing(
    scanned: Path, world: Path, tiny_config: Path
) -> None:
    done = scan.run(config(world, tiny_config, scanned))
    assert (done.scanned, done.reused, done.snapshot) == (0, 240, 1)


def test_shards_batches_and_workers_do_not_change_the_fingerprint(
    scanned: Path, world: Path, tiny_config: Path
) -> None:
    done = scan.run(config(world, tiny_config, scanned, shard_size=7, batch_size=3, workers=2))
    assert done.scanned == 0


@pytest.mark.parametrize(
    "options", [{"layers": "last:1"}, {"precision": "bf16"}, {"store": ["mlp"]}]
)
def test_another_configuration_under_the_same_name_is_refused(
    scanned: Path, world: Path, tiny_config: Path, options: dict[str, object]
) -> None:
    with pytest.raises(StaleScan, match="--restart"):
        scan.run(config(world, tiny_config, scanned, **options))


def test_new_changed_vanished_and_relabelled_pictures(
    world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    originals = sorted((world.parent / "images").glob("*.png"))[:20]
    for i, path in enumerate(originals[:12]):
        shutil.copy(path, folder / ("a" if i % 2 else "b") / path.name)
    asked = config(
        world, tiny_config, tmp_path / "w", source=str(folder), labels="folder", path_column=None
    ).model_copy(update={"shard_size": 5})
    assert scan.run(asked).images == 12
    before = everything(tmp_path / "w")

    keys = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.png"))
    (folder / keys[0]).unlink()
    Image.open(originals[15]).transpose(Image.Transpose.ROTATE_90).save(folder / keys[1])
    for path in originals[12:15]:
        shutil.copy(path, folder / "a" / path.name)
    done = scan.run(asked)
    assert (done.images, done.scanned, done.vanished) == (14, 4, 1)
    after = everything(tmp_path / "w")
    for key in keys[2:]:
        old, new = list(before["key"]).index(key), list(after["key"]).index(key)
        assert before["image_id"][old] == after["image_id"][new]
        np.testing.assert_array_equal(before["L1H2"][old], after["L1H2"][new])
    assert after["image_id"][list(after["key"]).index(keys[1])] not in before["image_id"]
    assert verify(Warehouse(tmp_path / "w").scan("s")).problems == ()

    fresh = config(
        world, tiny_config, tmp_path / "x", source=str(folder), labels="folder", path_column=None
    )
    scan.run(fresh)
    undisturbed = everything(tmp_path / "x")
    np.testing.assert_array_equal(undisturbed["key"], after["key"])
    np.testing.assert_allclose(undisturbed["embedding"], after["embedding"], atol=1e-6)


def test_a_change_of_labels_alone_runs_no_model(
    world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    asked = config(world, tiny_config, tmp_path / "w", labels="kind")
    scan.run(asked)
    before = everything(tmp_path / "w")
    done = scan.run(asked.model_copy(update={"labels": "colour"}))
    assert (done.scanned, done.images, done.snapshot) == (0, 240, 2)
    assert_equal(before, everything(tmp_path / "w"))
    store = Warehouse(tmp_path / "w").scan("s")
    shards = [live.shard for live in snapshots.latest(store).shards]
    labels = set(read_images(store, shards, ["label"])["label"].to_pylist())
    assert "red" in labels
    assert verify(store).problems == ()


def test_hostile_pictures_are_stored_or_rejected_and_the_run_goes_on(
    tiny_config: Path, world: Path, tmp_path: Path
) -> None:
    expected = hostile_pictures(tmp_path / "pictures")
    asked = config(
        world,
        tiny_config,
        tmp_path / "w",
        source=str(tmp_path / "pictures"),
        labels=None,
        path_column=None,
    )
    done = scan.run(asked)
    store = Warehouse(tmp_path / "w").scan("s")
    shards = [live.shard for live in snapshots.latest(store).shards]
    stored = set(read_images(store, shards, ["key"])["key"].to_pylist())
    rejects = read_rejects(store, shards)
    rejected = dict(zip(rejects["key"].to_pylist(), rejects["reason"].to_pylist(), strict=True))
    assert stored == {name for name, fate in expected.items() if fate == "stored"}
    assert set(rejected) == set(expected) - stored
    assert all(rejected.values())
    assert done.images + done.rejects == len(expected)
    # the summary's reasons say no picture's own name, and add up
    assert sum(count for _, count in done.reasons) == done.rejects
    assert not any(name in reason for name in rejected for reason, _ in done.reasons)
    assert [count for _, count in done.reasons] == sorted(
        (c for _, c in done.reasons), reverse=True
    )
    with pytest.raises(TooManyRejects, match=r"rejects\.parquet"):
        scan.run(asked.model_copy(update={"max_rejects": "0"}))


def test_a_scan_that_rejects_every_picture_fails_and_says_why(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from jobs import cli

    (tmp_path / "p").mkdir()
    for i in range(3):
        (tmp_path / "p" / f"{i}.png").write_bytes(b"nothing")
    listing = tmp_path / "list.csv"
    listing.write_text("path\nback\\slash.png\ngone.png\n")
    for source in (tmp_path / "p", listing):
        with pytest.raises(SystemExit) as stopped:
            cli.main(
                [
                    *("scan", str(source), "--model", str(tiny_config), "--pretrained", "none"),
                    *("--warehouse", str(tmp_path / "w"), "--workers", "0"),
                    *("--dataset", source.stem),
                ]
            )
        assert stopped.value.code == 1
        said = json.loads(capsys.readouterr().err.splitlines()[-1])["text"]
        assert "pictures were rejected (" in said and re.search(r"\d x (read|decode): ", said)
    assert not Warehouse(tmp_path / "w").database.exists()
    # with one that can be used, the night is published before its rejects are judged
    Image.new("RGB", (40, 40), "red").save(tmp_path / "p" / "good.png")
    with pytest.raises(SystemExit) as stopped:
        cli.main(
            [
                *("scan", str(tmp_path / "p"), "--model", str(tiny_config), "--pretrained", "none"),
                *("--warehouse", str(tmp_path / "w"), "--workers", "0", "--dataset", "p"),
                *("--max-rejects", "1"),
            ]
        )
    assert stopped.value.code == 3
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.err.splitlines()]
    assert [line["event"] for line in lines[-2:]] == ["note", "error"]
    assert "published version 1" in lines[-2]["text"] and lines[-1]["exit_code"] == 3
    assert re.search(r"^rejected\t3\n  decode: .*\t3$", said.out, re.M)


def test_a_dry_run_writes_nothing_and_is_near_the_truth(
    world: Path, tiny_config: Path, tmp_path: Path, scanned: Path
) -> None:
    plan = scan.run(config(world, tiny_config, tmp_path / "w"), dry_run=True)
    assert (plan.snapshot, plan.scanned) == (None, 240)
    assert not (tmp_path / "w").exists()
    shards = Warehouse(scanned).scan("s").shards
    stored = sum(p.stat().st_size for p in shards.rglob("*.parquet"))
    assert 0.5 < plan.bytes / stored < 2  # footers weigh in at 240 pictures


def test_mlp_contributions_are_stored_when_asked(
    world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    scan.run(config(world, tiny_config, tmp_path / "w", store=["mlp"], layers="last:1"))
    store = Warehouse(tmp_path / "w").scan("s")
    files = sorted(p.parent.name for p in store.shards.rglob("mlp.parquet"))
    assert set(files) == {"layer=0", "layer=1", "layer=2"}
    assert verify(store).problems == ()


def test_restart_forgets_and_keeps_what_a_reader_may_have_open(
    world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    asked = config(world, tiny_config, tmp_path / "w")
    scan.run(asked)
    old = set((tmp_path / "w" / "scans" / "s" / "shards").iterdir())
    done = scan.run(asked.model_copy(update={"restart": True, "layers": "last:1"}))
    assert done.scanned == 240
    assert all(shard.is_dir() for shard in old)
    assert verify(Warehouse(tmp_path / "w").scan("s")).problems == ()


def test_a_trained_checkpoint_file_gives_the_same_scan_as_its_weights(
    world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    model = load_model(str(tiny_config), "none", device=torch.device("cpu"))
    save_file(model.clip.state_dict(), tmp_path / "weights.safetensors")
    torch.save(model.clip.state_dict(), tmp_path / "weights.pt")
    assert open_clip.list_models()
    results = []
    for given in ("none", str(tmp_path / "weights.safetensors"), str(tmp_path / "weights.pt")):
        warehouse = tmp_path / f"scan of {Path(given).name}"
        scan.run(config(world, tiny_config, warehouse, pretrained=given))
        results.append(everything(warehouse))
    assert_equal(results[0], results[1])
    assert_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "nowhere"}, "nowhere"),
        ({"layers": "9"}, "layers 0 to 2"),
        ({"path_column": "missing"}, "missing"),
        ({"pretrained": "nothing.pt"}, "nothing.pt"),
    ],
)
def test_wrong_options_give_one_line(
    world: Path, tiny_config: Path, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    from schemas.errors import HeadAtlasError

    with pytest.raises(HeadAtlasError, match=words) as caught:
        scan.run(config(world, tiny_config, tmp_path / "w", **options))
    assert "\n" not in str(caught.value)


def test_options_are_checked_by_name() -> None:
    with pytest.raises(UsageError, match="shard_size"):
        ScanConfig.checked(
            {"source": "x", "model": "y", "pretrained": "none", "warehouse": "z", "shard_size": 0}
        )
    with pytest.raises(UsageError, match="max-rejects"):
        ScanConfig.checked(
            {
                "source": "x",
                "model": "y",
                "pretrained": "none",
                "warehouse": "z",
                "max_rejects": "many",
            }
        )


def test_images_rows_hold_the_listing(scanned: Path) -> None:
    store = Warehouse(scanned).scan("s")
    path = next(store.shards.rglob("images.parquet"))
    row = pq.read_table(path).slice(0, 1).to_pylist()[0]
    assert (row["width"], row["height"]) == (64, 64)
    assert json.loads(row["metadata"])["colour"]
    assert row["label"]
