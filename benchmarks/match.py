"""Whether matched heads of two models mean the same: the small CLIP and one of another seed.

A head whose best attribute explains half of it should be matched with a head of which the same
attribute explains most; a head drawn at random should not. The second model is made by
`make demo-model SEED=1`, and does not ship.
"""

import sys
from pathlib import Path

import numpy as np

from benchmarks.rows import Row
from demo.train import weights_of
from jobs.commands import match, scan
from jobs.commands.demo import MODEL, WEIGHTS, draw
from jobs.commands.match import MatchConfig
from jobs.commands.scan import ScanConfig
from jobs.steps.attributes import attributes_path, store_attributes
from jobs.steps.opened import open_scan
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result

PICTURES = 2_000
LEAST = 0.5


def run(work: Path) -> list[Row]:
    """Scan with both models, match, and compare best attributes; nothing without the second."""
    other = weights_of(1)
    if not other.is_file():
        sys.stderr.write(f"match: no {other}; make it with `make demo-model SEED=1`\n")
        return []
    warehouse, listing = Warehouse(work / "w"), draw(work / "pictures", PICTURES)
    for name, config, weights in (
        ("shipped", MODEL, WEIGHTS),
        ("other", other.with_suffix(".json"), other),
    ):
        scan.run(
            ScanConfig(
                source=str(listing),
                path_column="img_filename",
                labels="kind",
                model=str(config),
                pretrained=str(weights),
                warehouse=warehouse.root,
                scan=name,
                workers=0,
            )
        )
        store_attributes(open_scan(warehouse, name))
    done = match.run(MatchConfig(warehouse=warehouse.root, scan_a="shipped", scan_b="other"))
    matched, chance, heads = judged(warehouse, done, LEAST)
    note = f"{heads} heads with R² >= {LEAST}, {PICTURES:,} pictures; bars: 30 % each"
    return [
        Row("Matched heads of another best attribute", 100 * (1 - matched), "%", 30.0, note),
        Row("Random pairs of the same best attribute", 100 * chance, "%", 30.0, note),
    ]


def judged(warehouse: Warehouse, done: match.MatchResult, least: float) -> tuple[float, float, int]:
    """Return how often matched heads, and random pairs, share their best attribute; of how many.

    Heads of the first scan are judged whose best attribute explains at least `least`.
    """
    one, other = (_best(warehouse, name) for name in (done.scan, done.other))
    known = {m.head: m.other for m in done.matches if one[m.head][1] >= least}
    same = [one[head][0] == other[partner][0] for head, partner in known.items()]
    chance = [one[head][0] == best for head in known for best, _ in other.values()]
    return float(np.mean(same)), float(np.mean(chance)), len(known)


def _best(warehouse: Warehouse, name: str) -> dict[str, tuple[str, float]]:
    """Return by head the attribute that explains most of it, and how much."""
    found: dict[str, tuple[str, float]] = {}
    for row in read_result(attributes_path(warehouse.scan(name)))[0].to_pylist():
        head = f"L{row['layer']}H{row['head']}"
        if head not in found or row["r2"] > found[head][1]:
            found[head] = row["attribute"], row["r2"]
    return found
