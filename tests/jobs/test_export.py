"""Exported embeddings: those recomputed with heads replaced by their means."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.commands.export import ExportConfig, run
from schemas.errors import HeadAtlasError
from schemas.results.roles import roles_schema
from tests.cue import CHEAT, HONEST, SHAPE, Planted, plant, recomputed
from warehouse.results.files import write_result
from warehouse.store.reading import matrix

ALL = [(layer, head) for layer in SHAPE.layers for head in range(SHAPE.n_heads)]
OTHERS = [head for head in ALL if head not in (CHEAT, HONEST)]


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    planted = plant(tmp_path_factory.mktemp("export"))
    role = {"layer": CHEAT[0], "head": CHEAT[1], "role": "place", "method": "manual"}
    rows = pa.Table.from_pylist([role], schema=roles_schema())
    write_result(planted.scan.roles / "words.parquet", rows, {"basis": "words"})
    return planted


def export(birds: Planted, path: Path, **options: object) -> pa.Table:
    run(ExportConfig.checked({"warehouse": birds.root, "output": path, **options}))
    return pq.read_table(path)


@pytest.mark.parametrize(
    ("options", "ablated"),
    [
        ({"heads": "L1H2"}, [CHEAT]),
        ({"heads": ["L2H3,L0H0", "L2H3"]}, [(0, 0), (2, 3)]),
        ({"role": "place"}, [CHEAT]),
        ({"role": "place", "basis": "words", "keep": True}, [h for h in ALL if h != CHEAT]),
        ({"heads": "L1H2,L2H0", "keep": True}, OTHERS),
    ],
)
def test_embeddings_are_those_with_heads_replaced_by_means(
    birds: Planted, tmp_path: Path, options: dict[str, object], ablated: list[tuple[int, int]]
) -> None:
    table = export(birds, tmp_path / "e.parquet", **options)
    found, expected = matrix(table["embedding"]), recomputed(birds, ablated)
    assert table["key"].to_pylist() == [f"{i:05d}.png" for i in range(len(birds.y))]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    cosine = (found * expected).sum(axis=1)
    cosine /= np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert (cosine > 1 - 1e-4).all()
    before = birds.embedding @ birds.classifier.weights.T
    logits, wanted = (rows @ birds.classifier.weights.T for rows in (found, expected))
    assert np.abs(logits - wanted).max() <= 1e-4 < np.abs(logits - before).max()


def test_unit_norm_is_made_when_asked_and_said_either_way(birds: Planted, tmp_path: Path) -> None:
    as_it_is = export(birds, tmp_path / "a.parquet", heads="L1H2")
    unit = export(birds, tmp_path / "u.parquet", heads="L1H2", unit=True)
    rows, units = matrix(as_it_is["embedding"]), matrix(unit["embedding"])
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(units, rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-6)
    assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() > 1e-3
    for table, flag, words in ((as_it_is, False, b"not made unit-norm"), (unit, True, b"again.")):
        assert json.loads(table.schema.metadata[b"headatlas"])["unit_norm"] is flag
        assert words in table.schema.field("embedding").metadata[b"comment"]


def test_a_file_says_what_it_is_and_streams_by_shards(birds: Planted, tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    table = export(birds, path, heads="L1H2,L0H1")
    assert table.schema.names == ["key", "embedding"]
    assert table.schema.field("embedding").type == pa.list_(
        pa.field("element", pa.float32(), nullable=False), SHAPE.d_joint
    )
    said = json.loads(table.schema.metadata[b"headatlas"])
    assert (said["scan"], said["snapshot"], said["role"]) == ("birds", 1, None)
    assert said["ablated"] == ["L0H1", "L1H2"]
    assert said["means_over"] == len(birds.y)
    assert said["model"] and len(said["weights_sha256"]) == 64
    assert pq.ParquetFile(path).num_row_groups == 2
    (count,) = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchall()
    assert count == (len(birds.y),)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give one of --heads"),
        ({"heads": "L1H2", "role": "place"}, "give one of --heads"),
        ({"heads": "L9H9"}, "no head 'L9H9'; there is L0H0"),
        ({"heads": "colour"}, "L22H11"),
        ({"role": "colour"}, "with role 'colour'; there is place"),
        ({"heads": "L1H2", "scan": "x"}, "no scan 'x'; there is birds"),
        ({"heads": "L1H2", "output": "e.csv"}, "cannot write to 'e.csv'; expected .* .parquet"),
        ({"heads": "L1H2", "output": "nowhere/e.parquet"}, "there is no folder nowhere"),
    ],
)
def test_wrong_questions_say_what_exists_and_write_nothing(
    birds: Planted, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(HeadAtlasError, match=words) as caught:
        export(birds, **{"path": tmp_path / "e.parquet", **options})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
