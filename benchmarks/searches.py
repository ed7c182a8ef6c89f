"""The searches for spurious heads on the drawn birds: chosen on one split, judged on another.

Each search chooses a set on `birds_select` by the place where a bird stands; accuracy of the worst
group of `birds_test` without that set stands beside random heads, as many, as predicted from what
the heads write themselves (direct) and by running the model (total). Attention-share, which is for
written text, takes what is not the bird for it: the place.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.rows import Row
from demo.model import CONFIG, WEIGHTS
from demo.world import materialise_birds
from jobs.commands import scan, spurious, zeroshot
from jobs.commands.scan import ScanConfig
from jobs.commands.spurious import SpuriousConfig
from jobs.commands.zeroshot import ZeroShotConfig

PICTURES, MARKED = 1_000, 300
SEARCHES = ("cue", "margin-contrast", "attention-share")


def run(work: Path) -> list[Row]:
    """Return two rows a search: the worst group's accuracy without its set, direct and total."""
    listing = materialise_birds(
        work / "birds", dict.fromkeys(("birds_select", "birds_test"), PICTURES)
    )
    root = work / "warehouse"
    scan.run(
        ScanConfig(
            source=str(listing),
            path_column="img_filename",
            labels="y",
            model=str(CONFIG),
            pretrained=str(WEIGHTS),
            warehouse=root,
            scan="birds",
            workers=0,
        )
    )
    named = "0=land bird,1=water bird"
    zeroshot.run(
        ZeroShotConfig(warehouse=root, classes=named, templates="none", classifier="birds")
    )
    places = _places(listing.parent, work / "places")
    return [row for name in SEARCHES for row in _judged(root, name, places)]


def _places(birds: Path, target: Path) -> Path:
    """Write some select pictures with masks of what is not the bird, for `--text-data`."""
    for kind in ("images", "masks"):
        (target / kind).mkdir(parents=True)
    for path in sorted((birds / "images/birds_select").iterdir())[:MARKED]:
        with Image.open(path) as picture:
            picture.save(target / "images" / path.name)
        with Image.open(birds / "masks/birds_select" / path.name) as mask:
            off = (np.asarray(mask) == 0).astype(np.uint8)
        Image.fromarray(off).save(target / "masks" / path.name)
    return target


def _judged(root: Path, search: str, places: Path) -> list[Row]:
    done = spurious.run(
        SpuriousConfig.checked(
            {
                "warehouse": root,
                "classifier": "birds",
                "attribute": "place",
                "select": "split=3",
                "test": "split=2",
                "search": search,
                "text_data": places if search == "attention-share" else None,
                "total": True,
                "workers": 0,
            }
        )
    )
    (outcome,) = done.outcomes
    heads = ", ".join(outcome.heads) or "no head"
    direct = outcome.worst
    rows = [_row(search, "direct", direct.after, direct.before, direct.control_mean, heads)]
    for total in done.total.values():
        worst = next(row for row in total.rows if row.of == "worst")
        control = worst.control_mean
        rows.append(_row(search, "total", worst.total, worst.before, control, heads))
    return rows


def _row(
    search: str, effect: str, after: float, before: float, control: float | None, heads: str
) -> Row:
    beside = "" if control is None else f", {control:.3f} without random heads"
    note = f"{before:.3f} before{beside}; without {heads}"
    return Row(f"worst group, {search}, {effect}", after, "", None, note)
