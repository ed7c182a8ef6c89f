"""What the shipped pictures and the shipped model must show: retrieval by heads, and repair."""

from pathlib import Path

from demo.model import CONFIG, WEIGHTS
from demo.world import materialise, materialise_birds
from jobs.commands import evaluate, scan, spurious
from jobs.commands.evaluate import EvaluateConfig
from jobs.commands.scan import ScanConfig
from jobs.commands.spurious import SpuriousConfig
from jobs.steps.attributes import store_attributes
from jobs.steps.opened import open_scan
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result


def scanned(listing: Path, root: Path, labels: str) -> Path:
    """Scan drawn pictures with the model that ships; return the warehouse."""
    options = {
        "source": str(listing),
        "path_column": "img_filename",
        "labels": labels,
        "model": str(CONFIG),
        "pretrained": str(WEIGHTS),
        "warehouse": root,
        "scan": "s",
        "shard_size": 400,
        "batch_size": 64,
        "workers": 0,
    }
    scan.run(ScanConfig.checked(options))
    return root


def test_the_best_head_retrieves_better_than_the_embedding(tmp_path: Path) -> None:
    listing = materialise("test", tmp_path / "pictures", 600)
    root = scanned(listing, tmp_path / "w", "kind")
    opened = open_scan(Warehouse(root), None)
    store_attributes(opened)
    (path,) = opened.scan.results("attributes").glob("*.parquet")
    rows = read_result(path)[0].to_pylist()
    explained = {row["attribute"] for row in rows if row["r2"] >= 0.5}
    assert {"background", "colour", "count", "tone"} <= explained
    done = evaluate.run(EvaluateConfig(warehouse=root, k=10))
    best = {row.attribute: row for row in done.best()}
    assert explained <= best.keys()
    for name in explained:
        assert best[name].score.precision > done.embedding[name].precision, name


def test_switching_off_the_chosen_heads_repairs_the_worst_group(tmp_path: Path) -> None:
    counts = {"birds_select": 300, "birds_test": 300}
    root = scanned(materialise_birds(tmp_path / "birds", counts), tmp_path / "w", "y")
    done = spurious.run(
        SpuriousConfig(
            warehouse=root,
            classes="0=land bird,1=water bird",
            templates="none",
            attribute="place",
            select="split=3",
            test="split=2",
        )
    )
    assert done.classifier == "0-land-bird-1-water-bird"
    (found,) = done.outcomes
    gap = found.total.before - found.worst.before
    assert gap > 0.1, "no bias to repair"
    assert found.worst.after - found.worst.before >= gap / 2
    assert found.total.after >= found.total.before - 0.01
    assert found.worst.control_mean is not None and found.worst.control_sd is not None
    assert found.worst.after > found.worst.control_mean + 2 * found.worst.control_sd
