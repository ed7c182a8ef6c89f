"""Scans of towers that pool by attention: the pool's heads are a layer like any other."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.commands import nearest, publish, textspan, verify, zeroshot
from jobs.commands.pool import import_ as pool_import
from jobs.commands.roles import build as roles
from jobs.commands.scan import ScanConfig, run
from jobs.steps.opened import open_scan
from pipeline.heads.stored_frames import load_frames
from pipeline.heads.summary import component_shares
from schemas.errors import UsageError
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.classifiers import read_classifier
from warehouse.results.files import read_result
from warehouse.store import snapshots
from warehouse.store.reading import read_images, read_layer

PICTURES = 20
ABLATED = """
SELECT after, logit_after AS logit FROM ablate('colours', ?, scan := 'all') ORDER BY image_id
"""
NEAREST = "SELECT key, score FROM nearest_by_head(?, ?, k := 5, scan := 'all')"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with three scans by one tiny CoCa: of the pool, of everything, of the trunk."""
    root = tmp_path_factory.mktemp("pooled")
    rng = np.random.default_rng(0)
    (root / "pictures").mkdir()
    for i in range(PICTURES):
        pixels = rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "pictures" / f"{i}.png")
    vision = {"image_size": 16, "patch_size": 4, "width": 24, "head_width": 8, "layers": 2}
    vision |= {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 3}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    (root / "tiny-coca.json").write_text(json.dumps(config))
    for name, layers in (("pool", None), ("all", "all"), ("trunk", "0-1")):
        run(scan_config(root, name, layers))
    return root


def scan_config(root: Path, name: str, layers: str | None) -> ScanConfig:
    return ScanConfig(
        source=str(root / "pictures"),
        model=str(root / "tiny-coca.json"),
        pretrained="none",
        warehouse=root / "atlas",
        scan=name,
        layers=layers,
        store=("mlp",),
        workers=0,
        shard_size=8,
    )


def stored(root: Path, name: str, layer: int) -> np.ndarray:
    """Return c / norm of a layer's heads in the joint space, in order of image_id."""
    scan, snapshot = snapshots.open_scan(Warehouse(root / "atlas"), name)
    frames = load_frames(scan.frames, scan.load_record().frames_sha256)
    parts = [read_layer(scan, live.shard, layer).vectors for live in snapshot.shards]
    vectors = np.concatenate(parts, axis=1).astype(np.float64)
    return np.einsum("hiw,hjw->ihj", vectors, frames.of(layer))


def test_the_pool_is_what_is_stored_without_a_word(made: Path) -> None:
    record = Warehouse(made / "atlas").scan("pool").load_record()
    assert record.layers == (2,) == (record.model.pool_layer,)
    assert (record.model.heads_of(2), record.width_of(2)) == (4, 8)
    assert stored(made, "pool", 2).shape == (PICTURES, 4, 32)


def test_the_pools_heads_are_the_same_whatever_else_is_stored(made: Path) -> None:
    np.testing.assert_allclose(stored(made, "pool", 2), stored(made, "all", 2), atol=1e-6)
    np.testing.assert_allclose(stored(made, "trunk", 1), stored(made, "all", 1), atol=1e-6)


@pytest.mark.parametrize("name", ["pool", "all", "trunk"])
def test_shares_of_each_sum_are_one(made: Path, name: str) -> None:
    """Both sums of the embedding: by the pool's heads, and by the trunk's parts."""
    shares = component_shares(open_scan(Warehouse(made / "atlas"), name).moments)
    of_pool = {k: v for k, v in shares.items() if k[1] == 2 or k[0] == "const"}
    of_trunk = {k: v for k, v in shares.items() if k[:2] != ("head", 2)}
    if name != "trunk":
        total = sum(v for k, v in of_pool.items() if k[0] != "pool_bias")
        assert total == pytest.approx(1, abs=2e-3)
    if name != "pool":
        assert sum(of_trunk.values()) == pytest.approx(1, abs=2e-3)


def test_what_is_stored_verifies_and_is_asked_in_sql(made: Path) -> None:
    warehouse = made / "atlas"
    verify.run(verify.VerifyConfig(warehouse=warehouse))
    publish.run(publish.PublishConfig(warehouse=warehouse))
    house = Warehouse(warehouse)
    rows = query(house, "SELECT scan_id, pool_layer, pool_heads FROM scans ORDER BY 1").to_pylist()
    assert [(r["scan_id"], r["pool_layer"], r["pool_heads"]) for r in rows] == [
        ("all", 2, 4),
        ("pool", 2, 4),
        ("trunk", 2, 4),
    ]
    widths = query(
        house,
        "SELECT layer, max(len(vector)) AS width FROM contributions WHERE scan_id = 'all' "
        "GROUP BY layer ORDER BY layer",
    ).to_pylist()
    assert [(r["layer"], r["width"]) for r in widths] == [(0, 32), (1, 32), (2, 8)]


def test_texts_span_the_pools_heads_and_a_trunk_alone_is_refused(made: Path) -> None:
    (made / "words.txt").write_text("red\nblue\na bird\na dog\n")
    importing = pool_import.PoolImportConfig(file=made / "words.txt", warehouse=made / "atlas")
    pool_import.run(importing)
    options = {"warehouse": made / "atlas", "pool": "words", "m": 2}
    assert textspan.run(textspan.TextSpanConfig(scan="pool", **options)).heads == 4
    assert textspan.run(textspan.TextSpanConfig(scan="all", **options)).heads == 4
    with pytest.raises(UsageError, match="scan the pool's layer"):
        textspan.run(textspan.TextSpanConfig(scan="trunk", **options))


def test_heads_of_a_pool_have_roles_like_any_other(made: Path) -> None:
    """The same, by the same evidence, whatever else the scan holds; and in SQL."""
    things, colours = ("bird", "dog", "car", "boat"), ("red", "blue", "green", "white")
    lines = [f"a {thing},thing" for thing in things] + [f"{one} light,colour" for one in colours]
    (made / "said.csv").write_text("\n".join(["text,property", *lines]))
    house = made / "atlas"
    pool_import.run(pool_import.PoolImportConfig(file=made / "said.csv", warehouse=house))
    found = []
    for scan in ("pool", "all"):
        textspan.run(textspan.TextSpanConfig(warehouse=house, scan=scan, pool="said", m=4))
        done = roles.run(roles.RolesConfig(warehouse=house, scan=scan, basis="said", turns=16))
        found.append(read_result(done.path)[0].to_pylist())
    assert [(row["layer"], row["head"]) for row in found[0]] == [(2, head) for head in range(4)]
    for one, other in zip(*found, strict=True):
        assert (one["role"], one["method"]) == (other["role"], "enrichment")
        assert one["q_value"] == pytest.approx(other["q_value"], abs=0.1)
    publish.run(publish.PublishConfig(warehouse=house))
    asked = query(
        Warehouse(house), "SELECT scan_id, layer, head FROM head_roles WHERE basis = 'said'"
    )
    named = sorted(tuple(row.values()) for row in asked.to_pylist())
    assert named == [(scan, 2, head) for scan in ("all", "pool") for head in range(4)]


def test_heads_of_a_pool_are_ablated_and_searched_like_any_other(made: Path) -> None:
    """By SQL and by the command, against what is stored, in layers of two widths."""
    house = Warehouse(made / "atlas")
    given = {"classes": "r=red,b=blue,g=green", "templates": "none", "classifier": "colours"}
    zeroshot.run(zeroshot.ZeroShotConfig(warehouse=house.root, scan="all", **given))
    named = ("L2H1", "L1H0")
    publish.run(publish.PublishConfig(warehouse=house.root, materialize=named))
    opened = open_scan(house, "all")
    images = read_images(opened.scan, opened.shards)
    parts = {layer: stored(made, "all", layer) for layer in (0, 1, 2)}

    without = [(2, 1), (2, 3)], [(2, 0), (0, 2)]
    weights = read_classifier(house, opened.scan, "colours").weights
    embeddings = np.array(images["embedding"].to_pylist())
    for heads in without:
        left = embeddings.copy()
        for layer, head in heads:
            left -= parts[layer][:, head] - parts[layer][:, head].mean(axis=0)
        logits = left @ weights.T
        names = [f"L{layer}H{head}" for layer, head in heads]
        rows = query(house, ABLATED, [names]).to_pylist()
        np.testing.assert_allclose([r["logit"] for r in rows], logits.max(axis=1), atol=1e-4)
        clear = np.diff(np.sort(logits, axis=1)[:, -2:]).ravel() > 2e-4
        found = np.array([["red", "blue", "green"].index(r["after"]) for r in rows])
        np.testing.assert_array_equal(found[clear], logits.argmax(axis=1)[clear])

    keys = images["key"].to_pylist()
    for name in (*named, "L2H0"):
        rows = parts[int(name[1])][:, int(name[3])]
        rows = rows - rows.mean(axis=0)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = np.sort(rows[1:] @ rows[0])[::-1][:5]
        by_sql = query(house, NEAREST, [keys[0], name]).to_pylist()
        options = {"query": keys[0], "head": (name,), "k": 5, "scan": "all"}
        asked = nearest.run(nearest.NearestConfig(warehouse=house.root, **options)).neighbours
        np.testing.assert_allclose([r["score"] for r in by_sql], cosines, atol=1e-3)
        np.testing.assert_allclose([n.score for n in asked], cosines, atol=1e-3)


def test_a_rerun_scans_nothing(made: Path) -> None:
    done = run(scan_config(made, "all", "all"))
    assert done.scanned == 0
    scan, snapshot = snapshots.open_scan(Warehouse(made / "atlas"), "all")
    assert len(read_images(scan, [live.shard for live in snapshot.shards])) == PICTURES
