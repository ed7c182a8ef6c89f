"""The matrix: each kind of result against each change. A claim breaks where it should, and holds.

A kind that is registered and stands in no row fails here.
"""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from jobs.commands import (
    ablate,
    compact,
    concepts,
    drift,
    edges,
    effects,
    evaluate,
    gc,
    map_statistics,
    match,
    module_cosines,
    pairs,
    publish,
    scan,
    segment,
    similarity,
    spurious,
    texts,
    tune,
    verify,
)
from jobs.commands import textspan as spans
from jobs.commands import zeroshot as classes
from jobs.commands.ablate import AblateConfig
from jobs.commands.compact import CompactConfig
from jobs.commands.concepts import ConceptsConfig
from jobs.commands.drift import DriftConfig
from jobs.commands.edges import EdgesConfig
from jobs.commands.effects import EffectsConfig
from jobs.commands.evaluate import EvaluateConfig
from jobs.commands.map_statistics import MapStatisticsConfig
from jobs.commands.match import MatchConfig
from jobs.commands.module_cosines import ModuleCosinesConfig
from jobs.commands.pairs import PairsConfig
from jobs.commands.pool import import_
from jobs.commands.pool.import_ import PoolImportConfig
from jobs.commands.publish import PublishConfig
from jobs.commands.roles import build as roles
from jobs.commands.roles import set as by_hand
from jobs.commands.roles.build import RolesConfig
from jobs.commands.roles.set import RoleSetConfig
from jobs.commands.scan import ScanConfig
from jobs.commands.segment import SegmentConfig
from jobs.commands.similarity import SimilarityConfig
from jobs.commands.spurious import SpuriousConfig
from jobs.commands.texts import TextsConfig
from jobs.commands.textspan import TextSpanConfig
from jobs.commands.tune import TuneConfig
from jobs.commands.zeroshot import ZeroShotConfig
from pipeline.towers.models import load_model
from schemas.errors import CorruptStore, NewerFormat, StaleScan, StoreError, UsageError
from schemas.results import KINDS
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now, foreign, in_words
from warehouse.results.files import read_provenance, write_result
from warehouse.results.registry import stored
from warehouse.store import snapshots

PICTURE, LABEL, POOL, WEIGHTS = "new picture", "changed label", "changed pool", "new weights"
BREAKS = {
    "heads": {WEIGHTS, PICTURE},
    "head_directions": {WEIGHTS, PICTURE},
    "head_similarity": {WEIGHTS, PICTURE},
    "head_matches": {WEIGHTS, PICTURE},
    "head_drift": {WEIGHTS, PICTURE},
    "module_cosines": {WEIGHTS, PICTURE, LABEL},
    "head_tuning": {WEIGHTS, PICTURE, LABEL},
    "tuning_scores": {WEIGHTS, PICTURE, LABEL},
    "concept_shares": {WEIGHTS, PICTURE, POOL},
    "textspan": {WEIGHTS, PICTURE, POOL},
    "roles": {WEIGHTS, PICTURE, POOL},
    "stability": {WEIGHTS, PICTURE, POOL},
    "manual_roles": {WEIGHTS},
    "attributes": {WEIGHTS, PICTURE, LABEL},
    "retrieval_scores": {WEIGHTS, PICTURE, LABEL},
    "classifiers": {WEIGHTS, PICTURE},
    "image_logits": {WEIGHTS, PICTURE, LABEL},
    "head_logits": {WEIGHTS, PICTURE, LABEL},
    "spurious_heads": {WEIGHTS, PICTURE, LABEL},
    "head_edges": {WEIGHTS, PICTURE, LABEL},
    "second_order_effects": {WEIGHTS, PICTURE, LABEL},
    "head_effects": {WEIGHTS, PICTURE, LABEL},
    "image_head_effects": {WEIGHTS, PICTURE, LABEL},
    "image_ablations": {WEIGHTS, PICTURE, LABEL},
    "head_map_statistics": {WEIGHTS, POOL},
    "segmentation": {WEIGHTS},
    "text_frames": {WEIGHTS},
    "text_contributions": {WEIGHTS, POOL},
    "text_heads": {WEIGHTS, POOL},
    "text_textspan": {WEIGHTS, POOL},
    "text_words": {WEIGHTS, POOL},
    "text_head_words": {WEIGHTS},
    "head_pairs": {WEIGHTS, PICTURE, LABEL},
}
CHANGES = (
    *(WEIGHTS, PICTURE, LABEL, POOL),
    *("compact", "move", "republish", "retried reject", "same pool again"),
)


class World:
    """A warehouse with a result of every kind, its pictures, and their listing."""

    def __init__(self, root: Path, model: Path) -> None:
        self.root, self.model = root, model

    @property
    def warehouse(self) -> Path:
        return self.root / "w"

    def listing(self) -> list[list[str]]:
        with (self.root / "listing.csv").open() as stream:
            return list(csv.reader(stream))

    def write(self, rows: list[list[str]]) -> None:
        with (self.root / "listing.csv").open("w") as stream:
            csv.writer(stream).writerows(rows)

    def scan(self, **options: Any) -> scan.ScanResult:
        values = {
            "source": str(self.root / "listing.csv"),
            "path_column": "path",
            "labels": "kind",
            "model": str(self.model),
            "pretrained": "none",
            "warehouse": self.warehouse,
            "scan": "s",
            "shard_size": 6,
            "workers": 0,
            **options,
        }
        return scan.run(ScanConfig.checked(values))

    def texts(self, *more: str) -> None:
        path = self.root / "texts.csv"
        lines = ["text,property", "a red bird,colour", "a blue car,colour", "snow,place", *more]
        path.write_text("\n".join([*lines, "grass,place"]))
        import_.run(PoolImportConfig(file=path, warehouse=self.warehouse, name="mine"))

    def copy(self, to: Path) -> "World":
        shutil.copytree(self.root, to)
        return World(to, self.model)


def picture(path: Path, seed: int) -> str:
    noise = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return str(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_config: Path) -> World:
    root = tmp_path_factory.mktemp("claims") / "world"
    for name in ("pictures", "pairs/images", "pairs/masks"):
        (root / name).mkdir(parents=True)
    made = World(root, tiny_config)
    rows = [["path", "kind", "place", "split"]]
    for i in range(16):
        path = picture(root / f"pictures/{i}.png", i)
        rows.append([path, "ab"[i % 2], "xy"[i // 2 % 2], str(1 + i // 8)])
    rows.append([str(root / "pictures/not there.png"), "a", "x", "1"])
    made.write(rows)
    for i in range(2):
        picture(root / f"pairs/images/{i}.png", 50 + i)
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[8:20, 4:28] = 1
        Image.fromarray(mask).save(root / f"pairs/masks/{i}.png")
    (root / "pairs/metadata.csv").write_text("img_filename,kind\n0.png,cat\n1.png,dog\n")
    make_all(made)
    return made


def make_all(made: World) -> None:
    """Make a result of every kind."""
    w, rows = made.warehouse, made.listing()
    made.scan(scan="other")
    made.write(rows[:15])
    made.scan()
    made.write(rows)
    assert made.scan().rejects == 1
    made.texts()
    spans.run(TextSpanConfig(warehouse=w, pool="mine", m=2))
    roles.run(RolesConfig(warehouse=w, basis="mine", turns=0, permutations=100, bootstrap=2))
    by_hand.run(RoleSetConfig(warehouse=w, head="L1H1", role="glare"))
    named = made.root / "names.txt"
    named.write_text("a\tbird\nb\tcar\n")
    classes.run(
        ZeroShotConfig(warehouse=w, classes=str(named), templates="none", classifier="kinds")
    )
    spurious.run(SpuriousConfig(warehouse=w, classifier="kinds", attribute="place", control=1))
    evaluate.run(EvaluateConfig(warehouse=w, k=2, queries=4))
    segment.run(segment_config(made))
    map_statistics.run(statistics_config(made))
    edges.run(EdgesConfig(warehouse=w, workers=0))
    similarity.run(SimilarityConfig(warehouse=w))
    match.run(MatchConfig(warehouse=w, scan_a="s", scan_b="other"))
    drift.run(DriftConfig(warehouse=w))
    module_cosines.run(ModuleCosinesConfig(warehouse=w, classifier="kinds", workers=0))
    tune.run(TuneConfig(warehouse=w, classifier="kinds", folds=2))
    concepts.run(ConceptsConfig(warehouse=w, pool="mine", m=2))
    effects.run(EffectsConfig(warehouse=w, classifier="kinds", workers=0, check=4))
    texts.run(TextsConfig(warehouse=w, pool="mine", m=2, words=True))
    slot = ("colour=red,blue",)
    texts.run(TextsConfig(warehouse=w, grid="a {colour} car", values=slot, name="colours"))
    pairs.run(PairsConfig(warehouse=w, column="label"))
    replaced = {"heads": "L1H0", "total": True, "workers": 0, "control": 1}
    ablate.run(AblateConfig.checked({"warehouse": w, "classifier": "kinds", **replaced}))


def segment_config(made: World) -> SegmentConfig:
    values = {
        "data": made.root / "pairs",
        "labels": "kind",
        "warehouse": made.warehouse,
        "methods": "contribution,tokens",
        "workers": 0,
        "shard_size": 1,
        "examples": 0,
        "output": made.root / "segmentation",
    }
    return SegmentConfig.checked(values)


def statistics_config(made: World) -> MapStatisticsConfig:
    values = {
        "data": str(made.root / "pairs"),
        "masks": "foreground",
        "warehouse": made.warehouse,
        "pool": "mine",
        "workers": 0,
        "heads": "L1H0",
    }
    return MapStatisticsConfig.checked(values)


def said(made: World) -> dict[str, dict[str, Any]]:
    """Return what a result of every kind says it stands on."""
    warehouse = Warehouse(made.warehouse)
    places = (warehouse.scan("s"), warehouse)
    return {kind.name: read_provenance(path) for place in places for kind, path in stored(place)}


@pytest.fixture(scope="module")
def before(world: World) -> dict[str, dict[str, Any]]:
    return said(world)


@pytest.fixture(scope="module", params=CHANGES)
def changed(
    request: pytest.FixtureRequest,
    world: World,
    before: dict[str, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, World]:
    """Return a copy of the world after one change."""
    copy = world.copy(tmp_path_factory.mktemp("changed") / "world")
    done: dict[str, Callable[[], object]] = {
        WEIGHTS: lambda: copy.scan(restart=True, pretrained=str(other_weights(copy))),
        PICTURE: lambda: grow(copy),
        LABEL: lambda: relabel(copy),
        POOL: lambda: copy.texts("a green leaf,colour"),
        "same pool again": lambda: copy.texts(),
        "compact": lambda: compact.run(CompactConfig(warehouse=copy.warehouse)),
        "move": lambda: shutil.move(copy.warehouse, copy.root / "elsewhere"),
        "republish": lambda: [publish.run(PublishConfig(warehouse=copy.warehouse)) for _ in "ab"],
        "retried reject": copy.scan,
    }
    done[request.param]()
    if request.param == "move":
        (copy.root / "elsewhere").rename(copy.root / "w")
    return request.param, copy


def other_weights(made: World) -> Path:
    state = load_model(str(made.model), "none").clip.state_dict()
    torch.manual_seed(5)
    path = made.root / "other.pt"
    floats = {k: v + 0.01 * torch.randn_like(v) for k, v in state.items() if v.is_floating_point()}
    torch.save({**state, **floats}, path)
    return path


def grow(made: World) -> None:
    path = picture(made.root / "pictures/new.png", 99)
    made.write([*made.listing(), [path, "a", "y", "2"]])
    made.scan()


def relabel(made: World) -> None:
    rows = made.listing()
    rows[1][1] = "b"
    made.write(rows)
    made.scan()


@pytest.mark.parametrize("kind", KINDS)
def test_a_claim_breaks_where_it_should_and_holds_elsewhere(
    kind: str, changed: tuple[str, World], before: dict[str, dict[str, Any]]
) -> None:
    change, made = changed
    assert kind in before, f"no result of kind {kind} in the matrix: make one in make_all"
    warehouse = Warehouse(made.warehouse)
    now = Now(warehouse) if KINDS[kind].of == "warehouse" else Now.of(warehouse.scan("s"))
    broken = now.broken(KINDS[kind], before[kind])
    assert bool(broken) == (change in BREAKS[kind]), in_words(broken)
    assert foreign(broken) == (change == WEIGHTS)


def test_a_reject_that_ends_as_before_commits_nothing(world: World, tmp_path: Path) -> None:
    made = world.copy(tmp_path / "world")
    folder = Warehouse(made.warehouse).scan("s")
    first = snapshots.latest(folder)
    shards = sorted(folder.shards.iterdir())
    for _ in range(3):
        assert made.scan().rejects == 1
    assert snapshots.latest(folder) == first
    assert sorted(folder.shards.iterdir()) == shards


def test_after_a_restart_with_other_weights_nothing_old_is_served(
    world: World, tmp_path: Path
) -> None:
    made = world.copy(tmp_path / "world")
    made.scan(restart=True, pretrained=str(other_weights(made)))
    publish.run(PublishConfig(warehouse=made.warehouse))
    w = Warehouse(made.warehouse)
    found = query(w, "SELECT kind, stale, why, is_default FROM results").to_pylist()
    anew = {"heads", "head_directions"}
    for row in found:
        assert row["stale"] == (row["kind"] not in anew), row
        assert row["kind"] in anew or ("changed" in row["why"] and not row["is_default"])
    tables = [t.name for k in KINDS.values() for t in k.tables if k.name not in anew]
    for table in tables:
        assert query(w, f'SELECT count(*) AS n FROM "{table}"').to_pylist() == [{"n": 0}], table  # noqa: S608
    with pytest.raises(StaleScan, match="weights changed"):
        spurious.run(SpuriousConfig(warehouse=w.root, classifier="kinds", attribute="place"))


def test_segment_refuses_parts_of_other_masks_or_weights(world: World, tmp_path: Path) -> None:
    made = world.copy(tmp_path / "world")
    (made.root / "segmentation/parts/part-00000001.parquet").unlink()
    path = made.root / "pairs/masks/0.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with pytest.raises(StaleScan, match="data changed"):
        segment.run(segment_config(made))
    assert not map_statistics.run(statistics_config(made)).reused


def test_tuning_is_made_anew_for_another_option_and_for_other_classes(
    world: World, tmp_path: Path
) -> None:
    made = world.copy(tmp_path / "world")
    asked = TuneConfig(warehouse=made.warehouse, classifier="kinds", folds=2)
    assert tune.run(asked).reused
    other = asked.model_copy(update={"ridge": 0.5})
    assert not tune.run(other).reused and tune.run(other).reused
    (made.root / "names.txt").write_text("a\tbird\nb\tlorry\n")
    named = {"classes": str(made.root / "names.txt"), "templates": "none", "classifier": "kinds"}
    classes.run(ZeroShotConfig.checked({"warehouse": made.warehouse, **named}))
    publish.run(PublishConfig(warehouse=made.warehouse))
    told = "SELECT kind FROM results WHERE stale AND kind IN ('head_tuning', 'tuning_scores')"
    assert len(query(Warehouse(made.warehouse), told).to_pylist()) == 2
    assert not tune.run(other).reused and tune.run(other).reused
    with pytest.raises(UsageError, match="folds 17: 16 pictures of scan 's' to learn from"):
        tune.run(asked.model_copy(update={"folds": 17}))


def test_roles_set_by_hand_override_and_stand_alone(world: World, tmp_path: Path) -> None:
    made = world.copy(tmp_path / "world")
    w = Warehouse(made.warehouse)
    by_hand.run(RoleSetConfig(warehouse=w.root, head="L2H2", role="texture"))
    publish.run(PublishConfig(warehouse=w.root))
    mine = (
        "SELECT DISTINCT role, method FROM head_roles "
        "WHERE layer = 2 AND head = 2 AND role IS NOT NULL"
    )
    assert query(w, mine).to_pylist() == [{"role": "texture", "method": "manual"}]
    shutil.rmtree(w.scan("s").roles)
    publish.run(PublishConfig(warehouse=w.root))
    assert query(w, mine).to_pylist() == [{"role": "texture", "method": "manual"}]
    alone = "SELECT role_heads('texture', 's', NULL) AS heads"
    assert query(w, alone).to_pylist() == [{"heads": ["L2H2"]}]


def as_before_claims(warehouse: Warehouse) -> None:
    """Write the files again as the program wrote them before there were claims (format 1)."""
    folder = warehouse.scan("s")
    for place in (folder, warehouse):
        for kind, path in list(stored(place)):
            table, told = pq.read_table(path, partitioning=None), read_provenance(path)
            kept = {k: v for k, v in told.items() if k not in ("claim", "stands_on", "format")}
            kept.pop("kind")
            plain = {b"headatlas": json.dumps(kept).encode()}
            pq.write_table(table.replace_schema_metadata(plain), path, use_dictionary=False)
            if kind.name == "manual_roles":
                path.unlink()
                roles = {"L1H1": {"role": "glare", "note": None}}
                (folder.path / "manual_roles.json").write_text(json.dumps(roles))
    path = folder.snapshot(snapshots.numbers(folder)[-1])
    document = json.loads(path.read_text())
    document["format"] = 1
    for part in (document, *document["shards"]):
        del part["pictures_digest"], part["labels_digest"]
    path.write_text(json.dumps(document, indent=2) + "\n")


def test_results_from_before_claims_are_shown_as_stale_and_made_anew(
    world: World, tmp_path: Path
) -> None:
    made = world.copy(tmp_path / "world")
    w = Warehouse(made.warehouse)
    as_before_claims(w)
    done = publish.run(PublishConfig(warehouse=w.root))
    assert set(done.why.values()) == {"made by an older version"}
    assert query(w, "SELECT count(*) > 0 AS some FROM textspan WHERE stale").to_pylist() == [
        {"some": True}
    ]
    glare = query(w, "SELECT role_heads('glare', 's', NULL) AS heads").to_pylist()
    assert glare == [{"heads": ["L1H1"]}]
    assert verify.check(verify.VerifyConfig(warehouse=w.root)).problems == ()
    # nothing is scanned again; what is made again is current
    assert made.scan().scanned == 1
    spans.run(TextSpanConfig(warehouse=w.root, pool="mine", m=2))
    why = publish.run(PublishConfig(warehouse=w.root)).why
    assert "s/textspan/mine" not in why and "s/heads/heads" not in why


def test_a_flipped_bit_in_what_is_loaded_stops_publishing(world: World, tmp_path: Path) -> None:
    made = world.copy(tmp_path / "world")
    w = Warehouse(made.warehouse)
    folder = w.scan("s")
    shard = sorted(folder.shards.iterdir())[0]
    pool = sorted((w.pools / "mine").glob("*.parquet"))
    assert [path.name.partition("-")[0] for path in pool][:1] == ["embeddings"]
    results = [path for place in (folder, w) for _, path in stored(place)]
    for path in (shard / "images.parquet", shard / "rejects.parquet", *pool, *results):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert verify.check(verify.VerifyConfig(warehouse=w.root, quick=True)).problems, path
        for at in (len(whole) // 3, len(whole) - 40):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
            with pytest.raises((CorruptStore, StoreError)):
                publish.run(PublishConfig(warehouse=w.root))
            assert verify.check(verify.VerifyConfig(warehouse=w.root)).problems, path
        path.write_bytes(whole)
    assert publish.run(PublishConfig(warehouse=w.root)).stale == ()


def test_a_newer_result_is_refused_by_its_number(world: World, tmp_path: Path) -> None:
    made = world.copy(tmp_path / "world")
    w = Warehouse(made.warehouse)
    path = w.scan("s").heads
    told = {**read_provenance(path), "format": 7}
    write_result(path, pq.read_table(path, partitioning=None), told)
    with pytest.raises(NewerFormat, match="newer version, in format 7; this one reads up to 1"):
        publish.run(PublishConfig(warehouse=w.root))


def test_gc_deletes_results_of_other_weights_and_every_old_temporary_name(
    world: World, tmp_path: Path
) -> None:
    made = world.copy(tmp_path / "world")
    w = Warehouse(made.warehouse)
    folder = w.scan("s")
    made.scan(restart=True, pretrained=str(other_weights(made)))
    places = (w.root, w.pools, w.pools / "mine", w.root / "segmentation", folder.path)
    names = (".tmp-x-1", ".probe-1", "atlas-000009.duckdb.tmp")
    old = [place / name for place in places for name in names]
    for path in old:
        path.write_text("x")
        os.utime(path, (1, 1))
    young = w.root / ".tmp-young"
    young.write_text("x")
    swept = gc.run(gc.GcConfig(warehouse=w.root)).swept
    assert not [path for path in old if path.exists()] and young.exists()
    assert "s/textspan/mine" in swept.results
    left = {kind.name for kind, _ in stored(folder)}
    assert left == {"heads", "head_directions", "manual_roles"}
