"""`python -m docs.picture WAREHOUSE OUT.png`: the README's picture, from the demo's warehouse.

One row an attribute: the head that retrieves by it best, a picture, and the pictures most alike by
that head alone.
"""

import sys
from pathlib import Path

from PIL import Image

from jobs.commands import evaluate, nearest
from jobs.commands.evaluate import EvaluateConfig
from jobs.commands.nearest import NearestConfig
from jobs.steps.sheet import Tile, contact_sheet
from warehouse.database.query import query
from warehouse.files.layout import Warehouse

ATTRIBUTES = ("background", "colour", "count", "label")
SHOWN = 9
QUERY = "images/000001.png"


def main(root: Path, out: Path) -> None:
    """Draw the picture."""
    warehouse = Warehouse(root)
    rows = []
    scores = evaluate.run(EvaluateConfig(warehouse=root, attribute=ATTRIBUTES))
    for row in scores.best():
        head, whole = row.head, scores.embedding[row.attribute].precision
        done = nearest.run(NearestConfig(warehouse=root, query=QUERY, head=(head,), k=SHOWN))
        answer = query(warehouse, "SELECT uri FROM images WHERE key = ?", [QUERY])
        tiles = [Tile(Image.open(answer["uri"][0].as_py()).convert("RGB"), "asked", "")]
        tiles += [
            Tile(Image.open(n.uri).convert("RGB"), f"{n.score:.3f}", n.label or "")
            for n in done.neighbours
        ]
        name = "kind" if row.attribute == "label" else row.attribute
        title = f"{head}: {name}, shared by {row.score.precision:.0%} of its 10 nearest pictures"
        rows.append((f"{title} (by the whole embedding {whole:.0%})", tiles))
    contact_sheet(rows, columns=SHOWN + 1).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
