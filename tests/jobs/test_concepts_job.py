"""`headatlas concepts`, `concept_heads` and `textspan --criterion somp` on a scan."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jobs.commands import concepts, publish, textspan
from jobs.commands.concepts import ConceptsConfig
from jobs.commands.publish import PublishConfig
from jobs.commands.textspan import TextSpanConfig
from pipeline.heads.stored_frames import load_frames
from schemas.errors import UnknownName, UsageError
from tests.jobs.test_scan import everything
from tests.pipeline.heads.test_textspan import somp
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_provenance, read_result
from warehouse.store.pools import EmbeddedBy, read_embeddings, read_pool, write_pool


@pytest.fixture(scope="module")
def root(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("concepts") / "w"
    shutil.copytree(published, root, symlinks=True)
    return root


def pursued(root: Path, layer: int, head: int, about: str | None, steps: int) -> tuple[list, list]:
    """Return a literal pursuit's picks and shares of one head's stored vectors."""
    warehouse = Warehouse(root)
    scan, pool = warehouse.scan("s"), read_pool(warehouse, "small")
    record = scan.load_record()
    q = load_frames(scan.frames, record.frames_sha256).q[layer, head]
    by = EmbeddedBy(record.model.weights_sha256, record.precision)
    texts = read_embeddings(warehouse, "small", by).astype(np.float64)
    chosen = [i for i, p in enumerate(pool.properties) if about in (None, p)]
    vectors = everything(root)[f"L{layer}H{head}"].astype(np.float64)
    picks, removed = somp(vectors, texts[chosen] @ q, steps)
    return [chosen[i] for i in picks], removed / vectors.var(axis=0).sum()


def test_a_basis_by_pursuit_is_the_literal_one(root: Path) -> None:
    given = {"warehouse": root, "pool": "small", "m": 3, "basis": "pursued"}
    done = textspan.run(TextSpanConfig.checked({**given, "criterion": "somp"}))
    rows = read_result(done.path)[0].to_pylist()
    for layer, head in ((0, 1), (2, 2)):
        picks, shares = pursued(root, layer, head, None, 3)
        mine = [r for r in rows if (r["layer"], r["head"]) == (layer, head)]
        assert [r["description_id"] for r in mine] == picks
        np.testing.assert_allclose([r["explained"] for r in mine], shares, rtol=1e-4)
    with pytest.raises(UsageError, match="criterion"):
        TextSpanConfig.checked({**given, "criterion": "omp"})


def test_a_share_is_that_of_the_propertys_texts_alone(root: Path) -> None:
    done = concepts.run(ConceptsConfig(warehouse=root, pool="small", m=3))
    assert (done.heads, done.reused, set(done.best)) == (9, False, {"bird", "car"})
    rows = read_result(done.path)[0].to_pylist()
    assert len(rows) == 18
    found = {(r["layer"], r["head"], r["property"]): r for r in rows}
    for layer, head, about in ((0, 1, "bird"), (2, 0, "car")):
        row = found[layer, head, about]
        shares = pursued(root, layer, head, about, 3)[1]
        assert row["share"] == pytest.approx(sum(shares), rel=1e-4)
        rest = [found[layer, h, about]["share"] for h in range(3) if h != head]
        assert row["others"] == pytest.approx(np.mean(rest))
        assert row["texts"] == 3 and row["share"] < row["ceiling"]
    best, share, others = done.best["bird"]
    beyond = {k: r["share"] - r["others"] for k, r in found.items() if k[2] == "bird"}
    assert share - others == max(beyond.values())
    assert concepts.run(ConceptsConfig(warehouse=root, pool="small", m=3)).reused
    publish.run(PublishConfig(warehouse=root))
    asked = "SELECT name, share FROM concept_heads('bird', k := 2)"
    answer = query(Warehouse(root), asked).to_pylist()
    assert answer[0] == {"name": best, "share": share} and len(answer) == 2


def test_a_pool_without_properties_is_refused(root: Path) -> None:
    source = {"source": "drawn", "provenance": {}}
    write_pool(Warehouse(root), "plain", ["a bird", "a car"], [None, None], **source)
    with pytest.raises(UsageError, match="none of 2 texts has a property"):
        concepts.run(ConceptsConfig(warehouse=root, pool="plain"))
    with pytest.raises(UnknownName, match="no pool 'none'"):
        concepts.run(ConceptsConfig(warehouse=root, pool="none"))


def test_a_basis_of_before_this_option_is_still_current(root: Path) -> None:
    """Its claim says `renormalise`, as bases have since before pursuit had a name."""
    path = Warehouse(root).scan("s").textspan / "small.parquet"
    assert read_provenance(path)["stands_on"]["options"]["renormalise"] is False
