"""`headatlas tune` and `export --tuned`: against tuned embeddings written out literally."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.commands import export, tune
from jobs.commands.export import ExportConfig
from jobs.commands.tune import TuneConfig
from jobs.steps.logits import store_logits
from jobs.steps.opened import opened
from pipeline.heads.tuning import fit
from schemas.errors import UnknownName, UsageError
from tests.cue import SHAPE, Planted, plant
from tests.pipeline.heads.test_tuning import problem_of
from warehouse.database.publish import publish
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result
from warehouse.store import snapshots
from warehouse.store.reading import matrix


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    planted = plant(tmp_path_factory.mktemp("tune"), pictures=240)
    snapshot = snapshots.latest(planted.scan)
    assert snapshot is not None
    store_logits(opened(planted.scan, snapshot), planted.classifier)
    return planted


def config(birds: Planted, **options: object) -> TuneConfig:
    given = {"warehouse": birds.root, "classifier": "kinds", "scale": 20, "group_by": "label,place"}
    return TuneConfig.checked({**given, **options})


def drawn(birds: Planted, rows: list[dict]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return what `problem_of` takes, of all heads, and the weights found, head by head."""
    heads = [(layer, h) for layer in SHAPE.layers for h in range(SHAPE.n_heads)]
    by_head = {head: [r for r in rows if (r["layer"], r["head"]) == head] for head in heads}
    given = {
        "q": np.stack([birds.frames.q[SHAPE.layers.index(n), h] for n, h in heads]),
        "v": np.stack([np.array([r["vector"] for r in by_head[head]]).T for head in heads]),
        "vectors": np.stack([birds.vectors[n][h].astype(np.float64) for n, h in heads]),
        "e": birds.embedding.astype(np.float64),
        "w": birds.classifier.weights.astype(np.float64),
        "truth": birds.y,
    }
    return given, np.array([r["weight"] for head in heads for r in by_head[head]])


def test_weights_are_those_of_the_least_loss_and_help_the_worst_group(birds: Planted) -> None:
    done = tune.run(config(birds))
    assert (done.images, done.weights, done.reused) == (240, 12 * SHAPE.d_head, False)
    given, weights = drawn(birds, read_result(done.path)[0].to_pylist())
    np.testing.assert_allclose(weights - 1, fit(problem_of(given), 0.01, 20.0), atol=2e-2)
    # a head shouts the place: without tuning the birds at the wrong place are lost
    assert done.overall.before < 0.8 < 0.95 < done.overall.after
    assert done.worst.after > 0.85 > done.worst.before
    assert done.shuffled.after < 0.65
    publish(Warehouse(birds.root))
    asked = "SELECT members, n, before, after FROM tuning_scores WHERE kind = 'group'"
    rows = query(Warehouse(birds.root), asked).to_pylist()
    groups = [f"{y}{place}" for y, place in zip(birds.y, birds.place, strict=True)]
    before = (birds.embedding @ birds.classifier.weights.T).argmax(axis=1) == birds.y
    assert {"".join(r["members"]): r["n"] for r in rows} == {g: groups.count(g) for g in groups}
    for row in rows:
        mine = [g == "".join(row["members"]) for g in groups]
        assert row["before"] == pytest.approx(before[mine].mean())


def test_exported_embeddings_are_the_formula_on_the_stored_vectors(
    birds: Planted, tmp_path: Path
) -> None:
    done = tune.run(config(birds, layers="1-2"))
    rows = read_result(done.path)[0].to_pylist()
    assert {row["layer"] for row in rows} == {1, 2}
    path = tmp_path / "tuned.parquet"
    export.run(ExportConfig(output=path, warehouse=birds.root, tuned="kinds"))
    table = pq.read_table(path)
    expected = birds.embedding.astype(np.float64)
    for layer, head in {(row["layer"], row["head"]) for row in rows}:
        mine = [r for r in rows if (r["layer"], r["head"]) == (layer, head)]
        v = np.array([r["vector"] for r in mine]).T
        weigh = np.diag([r["weight"] - 1 for r in mine])
        vectors = birds.vectors[layer][head].astype(np.float64)
        centred = vectors - vectors.mean(axis=0)
        q = birds.frames.q[SHAPE.layers.index(layer), head]
        expected = expected + (q @ v @ weigh @ v.T @ centred.T).T
    np.testing.assert_allclose(matrix(table["embedding"]), expected, atol=1e-4)
    said = json.loads(table.schema.metadata[b"headatlas"])
    assert (said["tuned"], said["ablated"], said["unit_norm"]) == ("kinds", [], False)


def test_a_sample_is_learned_from_alone(birds: Planted) -> None:
    assert tune.run(config(birds, sample=60, folds=3)).images == 60


def test_what_cannot_be_tuned_is_refused(birds: Planted, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="called 'types'; there is kinds"):
        tune.run(config(birds, classifier="types"))
    with pytest.raises(UnknownName, match="called 'hue'"):
        tune.run(config(birds, group_by="hue"))
    with pytest.raises(UsageError, match="this model has layers 0 to 2"):
        tune.run(config(birds, layers="5"))
    given = {"output": tmp_path / "e.parquet", "warehouse": birds.root}
    with pytest.raises(UsageError, match="has no tuning for classifier 'types'"):
        export.run(ExportConfig.checked({**given, "tuned": "types"}))
    with pytest.raises(UsageError, match="give one of --heads"):
        export.run(ExportConfig.checked({**given, "tuned": "kinds", "heads": "L1H2"}))
