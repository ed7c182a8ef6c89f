"""`python -m docs.picture WAREHOUSE OUT.png`: the README's picture, from the demo's warehouse.

One row a property: the head that the pictures' attribute explains most of, a picture, and the
pictures most alike by that head alone.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from jobs import nearest
from jobs.sheet import Tile, contact_sheet
from schemas.config import NearestConfig
from schemas.names import head_name
from warehouse import snapshots
from warehouse.layout import Warehouse
from warehouse.query import query
from warehouse.reading import iterate_layer

ATTRIBUTES = ("background", "colour", "count", "kind", "texture", "tone")
SHOWN = 9
QUERY = "images/000001.png"


def explained(vectors: np.ndarray, groups: np.ndarray) -> float:
    """Return the share of a head's variance that lies between groups."""
    v = vectors.astype(np.float64)
    centred = v - v.mean(axis=0)
    between = sum(
        (groups == g).sum() * np.square(centred[groups == g].mean(axis=0)).sum()
        for g in np.unique(groups)
    )
    return float(between / np.square(centred).sum())


def best_heads(warehouse: Warehouse) -> dict[str, tuple[str, float]]:
    """Return, for each attribute, the head it explains most of, and how much."""
    scan, snapshot = snapshots.open_scan(warehouse, None)
    table = query(warehouse, "FROM image_metadata ORDER BY image_id")
    shards = [live.shard for live in snapshot.shards]
    found: dict[str, tuple[str, float]] = {}
    for layer in scan.load_record().layers:
        blocks = list(iterate_layer(scan, shards, layer))
        order = np.argsort(np.concatenate([b.image_id for b in blocks]))
        heads = np.concatenate([b.vectors for b in blocks], axis=1)[:, order]
        for attribute in ATTRIBUTES:
            groups = np.array(table[attribute].to_pylist())
            for head, vectors in enumerate(heads):
                share = explained(vectors, groups)
                if share > found.get(attribute, ("", 0.0))[1]:
                    found[attribute] = (head_name(layer, head), share)
    return found


def main(root: Path, out: Path) -> None:
    """Draw the picture."""
    warehouse = Warehouse(root)
    rows = []
    for attribute, (head, share) in best_heads(warehouse).items():
        done = nearest.run(NearestConfig(warehouse=root, query=QUERY, head=(head,), k=SHOWN))
        answer = query(warehouse, "SELECT uri FROM images WHERE key = ?", [QUERY])
        tiles = [Tile(Image.open(answer["uri"][0].as_py()).convert("RGB"), "asked", "")]
        tiles += [
            Tile(Image.open(n.uri).convert("RGB"), f"{n.score:.3f}", n.label or "")
            for n in done.neighbours
        ]
        rows.append((f"{head}: {attribute} explains {share:.0%} of what it writes", tiles))
    contact_sheet(rows, columns=SHOWN + 1).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
