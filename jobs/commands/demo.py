"""Go the whole way on the pictures and the small CLIP that ship."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import Field

import demo
from demo.world import SEED, descriptions, materialise
from jobs import console
from jobs.commands import publish, scan, textspan
from jobs.commands.publish import PublishConfig
from jobs.commands.scan import ScanConfig
from jobs.commands.textspan import TextSpanConfig
from pipeline.texts.pool import Description, clean
from schemas.config import Config
from schemas.names import NO_WEIGHTS
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.store.pools import write_pool


class DemoConfig(Config):
    """Options of `headatlas demo`."""

    warehouse: Path = Field(default=Path("headatlas-demo"), description="Folder to work in.")
    pictures: int = Field(default=3000, ge=100, description="Pictures to draw and scan.")


FOLDER = Path(demo.__file__).parent
MODEL = FOLDER / "small_clip.json"
WEIGHTS = FOLDER / "small_clip.safetensors"
SCAN = "demo"
POOL = "world"

QUERIES = (
    (
        "Which texts does the strongest head write?",
        """SELECT rank, text, property, round(explained, 3) AS explained
FROM head_texts((SELECT name FROM heads ORDER BY variance_share DESC LIMIT 1)) LIMIT 5""",
    ),
    (
        "What are the pictures most alike, by that head, to the first one?",
        """SET VARIABLE strongest = (SELECT name FROM heads ORDER BY variance_share DESC LIMIT 1);
SELECT rank, key, label, round(score, 3) AS score
FROM nearest_by_head((SELECT key FROM images ORDER BY image_id LIMIT 1),
                     getvariable('strongest'), k := 5)""",
    ),
    (
        "What do the heads of each layer write about, and how much of the output is it?",
        """SELECT layer, count(*) AS heads, round(sum(variance_share), 3) AS share,
       mode(property) AS commonest
FROM heads JOIN textspan USING (scan_id, layer, head) WHERE rank = 0
GROUP BY layer ORDER BY layer""",
    ),
)


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes:
        trained: whether the small CLIP that ships was used, or random weights.
        heads: the strongest heads, with their texts.
        answers: each query's question, SQL and answer.
    """

    trained: bool
    heads: pa.Table
    answers: tuple[tuple[str, str, pa.Table], ...]


STRONGEST = """
SELECT h.name AS head, round(h.variance_share, 3) AS share,
       round(max(t.cumulative), 2) AS explained,
       string_agg(t.text, ' · ' ORDER BY t.rank) FILTER (t.rank < 3) AS texts
FROM heads h JOIN textspan t USING (scan_id, layer, head)
WHERE t.rank < 10
GROUP BY ALL ORDER BY share DESC LIMIT 10
"""


def draw(directory: Path, count: int, seed: int = SEED) -> Path:
    """Draw pictures of the world as large as the small CLIP sees; return their listing."""
    side = json.loads(MODEL.read_text())["vision_cfg"]["image_size"]
    return materialise("test", directory, count, seed, side=side)


def write_world_pool(warehouse: Warehouse) -> None:
    """Write the pool of the world's own words, each text about one property.

    Texts about two properties at once would hide which of them a head writes.
    """
    found = clean(Description(t, about) for t, about in descriptions() if about != "mixed")
    write_pool(
        warehouse,
        POOL,
        [d.text for d in found.descriptions],
        [d.property for d in found.descriptions],
        source="demo/world",
        provenance={"source": "the demo world's own words"},
    )


def run(config: DemoConfig) -> DemoResult:
    """Draw the pictures, scan them, find the heads' texts, publish and ask."""
    root = config.warehouse
    root.mkdir(parents=True, exist_ok=True)
    trained = WEIGHTS.is_file()
    if not trained:
        console.warn(
            "the small CLIP's checkpoint is not there: random weights, so heads mean nothing"
        )
    console.note(f"drawing {config.pictures:,} pictures into {root / 'pictures'}")
    listing = draw(root / "pictures", config.pictures)
    scan.run(
        ScanConfig(
            source=str(listing),
            path_column="img_filename",
            labels="kind",
            model=str(MODEL),
            pretrained=str(WEIGHTS) if trained else NO_WEIGHTS,
            warehouse=root,
            dataset="world",
            scan=SCAN,
            shard_size=1024,
            batch_size=128,
        )
    )
    write_world_pool(Warehouse(root))
    textspan.run(TextSpanConfig(warehouse=root, pool=POOL, scan=SCAN, m=20))
    publish.run(PublishConfig(warehouse=root))
    answers = tuple((q, sql, query(Warehouse(root), sql)) for q, sql in QUERIES)
    return DemoResult(trained, query(Warehouse(root), STRONGEST), answers)


def say(config: DemoConfig, done: DemoResult) -> None:
    """Print the strongest heads, and each query with its answer."""
    what = "the small CLIP that ships" if done.trained else "RANDOM WEIGHTS (nothing is learnt)"
    console.show(f"The strongest heads of {what}, and their texts", done.heads)
    for question, text, answer in done.answers:
        console.out.print(f"\n{text}", style="cyan", soft_wrap=True, markup=False)
        console.show(question, answer)
