"""Go the whole way on the pictures and the small CLIP that ship."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import Field

import demo
from demo.world import FACTORS, SEED, descriptions, materialise, materialise_birds
from jobs import console
from jobs.commands import publish, scan, textspan
from jobs.commands.publish import PublishConfig
from jobs.commands.scan import ScanConfig
from jobs.commands.textspan import TextSpanConfig
from pipeline.texts.pool import Description, clean
from schemas.config import Config
from schemas.names import NO_WEIGHTS
from schemas.text import how_many
from warehouse.database.query import query
from warehouse.files.atomic import write_text
from warehouse.files.layout import Warehouse
from warehouse.store.pools import write_pool

WRITES = True
BEGINS = True


class DemoConfig(Config):
    """Options of `headatlas demo`."""

    warehouse: Path = Field(default=Path("headatlas-demo"), description="Folder to work in.")
    pictures: int = Field(default=3000, ge=100, description="Pictures to draw and scan.")


FOLDER = Path(demo.__file__).parent
MODEL = FOLDER / "small_clip.json"
WEIGHTS = FOLDER / "small_clip.safetensors"
SCAN = "demo"
BIRDS = "birds"
UNTRAINED = "untrained"
POOL = "world"

_COLOURS = "colour=" + ",".join(FACTORS["colour"])
GRIDS = (
    (
        "colour-kind",
        "a photo of a {colour} {kind}",
        (_COLOURS, "kind=duck,cat,car,boat,tree,castle,star,banana,fish,rocket"),
    ),
    (
        "count-colour-place",
        "{count} {colour} ducks {place}",
        (
            "count=two,three,four",
            _COLOURS,
            "place=on the water,on the grass,in the snow,in the city",
        ),
    ),
    (
        "texture-colour",
        "a {texture} {colour} object",
        ("texture=" + ",".join(FACTORS["texture"]), _COLOURS),
    ),
)

QUERIES = (
    (
        "Which texts does the strongest head write?",
        """SELECT rank, text, property, round(explained, 3) AS explained
FROM head_texts((SELECT max_by(name, variance_share) FROM default_scan.heads)) LIMIT 5""",
    ),
    (
        "What are the pictures most alike, by that head, to the first one?",
        """SET VARIABLE strongest = (SELECT max_by(name, variance_share) FROM default_scan.heads);
SELECT rank, key, label, round(score, 3) AS score
FROM nearest_by_head('images/000000.png', getvariable('strongest'), k := 5)""",
    ),
    (
        "What do the heads of each layer write about, and how much of the output is it?",
        """SELECT layer, count(*) AS heads, round(sum(variance_share), 3) AS share,
       mode(property) AS commonest
FROM default_scan.heads JOIN textspan USING (scan_id, layer, head) WHERE rank = 0
GROUP BY layer ORDER BY layer""",
    ),
    (
        "How well does it tell 35 kinds of things, and with the heads of a role switched off?",
        """SELECT role, count(*) AS heads, any_value(before) AS before, any_value(after) AS after
FROM (SELECT DISTINCT role, layer, head FROM default_scan.head_roles WHERE role IS NOT NULL),
    LATERAL (SELECT round(avg(correct_before::INT), 3) AS before,
                 round(avg(correct_after::INT), 3) AS after
             FROM ablate_role('kinds', role))
GROUP BY role ORDER BY after""",
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
FROM default_scan.heads h JOIN textspan t USING (scan_id, layer, head)
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
    """Draw pictures, scan them, find what the heads do in every way there is, publish and ask.

    Of each command there is a result, so that every example in docs/warehouse.md has rows. Scans
    `birds` and `untrained` are made first: the newest, `demo`, is the one that SQL asks by default.
    """
    root = config.warehouse
    root.mkdir(parents=True, exist_ok=True)
    trained = WEIGHTS.is_file()
    if not trained:
        console.warn(
            "the small CLIP's checkpoint is not there: random weights, so heads mean nothing"
        )
    console.note(f"drawing {how_many(config.pictures, 'picture')} into {root / 'pictures'}")
    listing = draw(root / "pictures", config.pictures)
    birds = draw_birds(root / "birds", max(config.pictures // 10, 150))
    weights = str(WEIGHTS) if trained else NO_WEIGHTS
    _scan(root, birds, BIRDS, "place_filename", weights)
    console.note(f"scan {UNTRAINED!r} is of random weights: what heads are like before training")
    _scan(root, first_of(root, listing, config.pictures // 10), UNTRAINED, "kind", NO_WEIGHTS)
    # two snapshots, so that drift can be shown
    _scan(root, first_of(root, listing, config.pictures * 9 // 10), SCAN, "kind", weights)
    _scan(root, with_one_missing(root, listing), SCAN, "kind", weights)
    write_world_pool(Warehouse(root))
    textspan.run(TextSpanConfig(warehouse=root, pool=POOL, scan=SCAN, m=20))
    _results(root)
    publish.run(PublishConfig(warehouse=root, materialize=("role:colour",)))
    answers = tuple((q, sql, query(Warehouse(root), sql)) for q, sql in QUERIES)
    return DemoResult(trained, query(Warehouse(root), STRONGEST), answers)


def draw_birds(directory: Path, count: int, seed: int = SEED) -> Path:
    """Draw birds whose place does not tell their kind, in two splits; return the listing."""
    side = json.loads(MODEL.read_text())["vision_cfg"]["image_size"]
    return materialise_birds(
        directory, dict.fromkeys(("birds_select", "birds_test"), count), seed, side
    )


def first_of(root: Path, listing: Path, count: int) -> Path:
    """Write a listing of the first pictures alone."""
    lines = listing.read_text(encoding="utf-8").splitlines()[: 1 + count]
    shorter = root / f"first-{count}.csv"
    write_text(shorter, "\n".join(lines) + "\n")
    return shorter


def with_one_missing(root: Path, listing: Path) -> Path:
    """Write a listing of the pictures and of one that is not there: a reject, to be shown."""
    head, *rows = listing.read_text(encoding="utf-8").splitlines()
    longer = root / "listing.csv"
    missing = rows[0].replace("000000.png", "missing.png")
    write_text(longer, "\n".join([head, *rows, missing]) + "\n")
    return longer


def _scan(root: Path, listing: Path, name: str, labels: str, weights: str) -> None:
    scan.run(
        ScanConfig(
            source=str(listing),
            path_column="img_filename",
            root=str(root / (BIRDS if name == BIRDS else "pictures")),
            labels=labels,
            model=str(MODEL),
            pretrained=weights,
            warehouse=root,
            dataset="world",
            scan=name,
            shard_size=1024,
            batch_size=128,
            # what effects and ablations of the whole model replace a part by
            store=("means",) if name == SCAN else (),
        )
    )


def _results(root: Path) -> None:
    """Make a result of every further kind.

    These commands are imported here: the first word of the demo does not wait for them.
    """
    from jobs.commands import (
        ablate,
        concepts,
        drift,
        edges,
        effects,
        evaluate,
        map_statistics,
        match,
        module_cosines,
        segment,
        similarity,
        spurious,
        tune,
        zeroshot,
    )
    from jobs.commands.roles import build as roles

    roles.run(roles.RolesConfig(warehouse=root, scan=SCAN, basis=POOL, bootstrap=10))
    zeroshot.run(
        zeroshot.ZeroShotConfig(
            warehouse=root, scan=SCAN, classes="labels", classifier="kinds", templates="none"
        )
    )
    evaluate.run(evaluate.EvaluateConfig(warehouse=root, scan=SCAN, queries=200))
    spurious.run(
        spurious.SpuriousConfig(
            warehouse=root,
            scan=BIRDS,
            classes="0=land bird,1=water bird",
            classifier="birds",
            templates="none",
            target="y",
            attribute="place",
            select="split=3",
            test="split=2",
        )
    )
    effects.run(
        effects.EffectsConfig(
            warehouse=root, scan=SCAN, classifier="kinds", sample=24, check=8, workers=0
        )
    )
    module_cosines.run(
        module_cosines.ModuleCosinesConfig(
            warehouse=root, scan=SCAN, classifier="kinds", sample=64, workers=0
        )
    )
    ablate.run(
        ablate.AblateConfig(
            warehouse=root,
            scan=SCAN,
            classifier="kinds",
            heads=("L3H1", "L4H1"),
            sample=100,
            total=True,
            control=5,
            workers=0,
        )
    )
    tune.run(
        tune.TuneConfig(
            warehouse=root, scan=SCAN, classifier="kinds", layers="last:2", sample=400, folds=2
        )
    )
    edges.run(edges.EdgesConfig(warehouse=root, scan=SCAN, sample=64, workers=0))
    similarity.run(similarity.SimilarityConfig(warehouse=root, scan=SCAN))
    match.run(match.MatchConfig(warehouse=root, scan_a=SCAN, scan_b=UNTRAINED))
    drift.run(drift.DriftConfig(warehouse=root, scan=SCAN))
    concepts.run(concepts.ConceptsConfig(warehouse=root, scan=SCAN, pool=POOL))
    _results_of_texts(root)
    pictures = root / "pictures"
    map_statistics.run(
        map_statistics.MapStatisticsConfig(
            warehouse=root,
            scan=SCAN,
            data=str(pictures),
            text=("an octopus",),
            masks="foreground",
            labels="kind",
            limit=100,
            workers=0,
            name="octopus",
        )
    )
    segment.run(
        segment.SegmentConfig(
            warehouse=root,
            scan=SCAN,
            data=pictures,
            labels="kind",
            methods="attention,contribution",
            limit=32,
            examples=0,
            workers=0,
            output=root / "segmented",
        )
    )


def _results_of_texts(root: Path) -> None:
    """Make a result of every kind that the text tower has."""
    from jobs.commands import pairs, texts

    texts.run(texts.TextsConfig(warehouse=root, scan=SCAN, pool=POOL, words=True))
    for name, template, values in GRIDS:
        texts.run(
            texts.TextsConfig(warehouse=root, scan=SCAN, grid=template, values=values, name=name)
        )
    pairs.run(
        pairs.PairsConfig(warehouse=root, scan=SCAN, column="label", template="a photo of a {}")
    )


def say(config: DemoConfig, done: DemoResult) -> None:
    """Print the strongest heads, and each query with its answer."""
    what = "the small CLIP that ships" if done.trained else "RANDOM WEIGHTS (nothing is learnt)"
    console.show(f"The strongest heads of {what}, and their texts", done.heads)
    for question, text, answer in done.answers:
        console.out.print(f"\n{text}", style="cyan", soft_wrap=True, markup=False)
        console.show(question, answer)
    console.note(f"look at it: headatlas explore --warehouse {config.warehouse}")
