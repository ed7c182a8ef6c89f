"""`headatlas evaluate`: every head and attribute, and the same numbers in SQL."""

import shutil
from pathlib import Path

import pytest

from jobs.commands import evaluate
from jobs.commands.evaluate import EvaluateConfig
from schemas.errors import HeadAtlasError
from schemas.names import head_name
from schemas.tables import TABLES
from warehouse.database.publish import publish
from warehouse.database.query import query
from warehouse.files.layout import Warehouse

(TABLE,) = (t for t in TABLES if t.name == "retrieval_scores")


@pytest.fixture(scope="module")
def evaluated(
    published: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Warehouse, evaluate.Evaluation]:
    root = tmp_path_factory.mktemp("evaluated") / "w"
    shutil.copytree(published, root, symlinks=True)
    done = evaluate.run(EvaluateConfig(warehouse=root, queries=50, k=5))
    publish(Warehouse(root))
    return Warehouse(root), done


def test_every_head_and_attribute_is_evaluated(
    evaluated: tuple[Warehouse, evaluate.Evaluation],
) -> None:
    _, done = evaluated
    assert len(done.heads) == 9 * len(done.embedding)
    assert {"background", "colour", "count", "label", "texture", "tone"} <= done.embedding.keys()
    assert "caption" not in done.embedding


def test_an_unknown_attribute_is_refused(published: Path) -> None:
    with pytest.raises(HeadAtlasError, match="no attribute 'hue'; there is background"):
        evaluate.run(EvaluateConfig(warehouse=published, attribute=("hue",)))


def test_scores_in_sql_are_those_that_were_measured(
    evaluated: tuple[Warehouse, evaluate.Evaluation],
) -> None:
    warehouse, done = evaluated
    expected = {("embedding", None, name): score for name, score in done.embedding.items()}
    expected |= {("head", row.head, row.attribute): row.score for row in done.heads}
    rows = query(warehouse, "FROM retrieval_scores").to_pylist()
    assert len(rows) == len(expected)
    for row in rows:
        name = None if row["layer"] is None else head_name(row["layer"], row["head"])
        score = expected[row["component"], name, row["attribute"]]
        assert row["precision_at_k"] == score.precision
        assert row["mean_average_precision"] == score.average_precision
        assert row["chance"] == score.chance
        assert (row["k"], row["queries"], row["stale"]) == (5, 50, False)


def test_the_example_gives_the_best_head_of_each_attribute(
    evaluated: tuple[Warehouse, evaluate.Evaluation],
) -> None:
    warehouse, done = evaluated
    rows = query(warehouse, TABLE.example).to_pylist()
    assert [row["attribute"] for row in rows] == [best.attribute for best in done.best()]
    for row, best in zip(rows, done.best(), strict=True):
        assert row["precision"] == best.score.precision
        assert row["embedding"] == done.embedding[best.attribute].precision
        assert row["best_head"] in {
            h.head
            for h in done.heads
            if (h.attribute, h.score.precision) == (best.attribute, best.score.precision)
        }
