"""Build a description pool by a language model; what was paid for is never asked again."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from jobs import console
from jobs.steps.asking import asker_of
from jobs.steps.models import load_recorded
from pipeline.texts.llm import Asker, Counts, Prompt, estimate_tokens
from pipeline.texts.pool_build import (
    ROUNDS,
    WORDS,
    Descriptions,
    Gathered,
    Kept,
    class_prompt,
    grounded_prompt,
    near_duplicates,
    parts_needed,
    property_prompt,
)
from pipeline.texts.server import Server
from schemas.addresses import Address
from schemas.config import Config, Names
from schemas.errors import LanguageModelError, UsageError
from schemas.manifest import digest
from schemas.names import check_name
from schemas.text import read_lines
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.columns import column, require_columns
from warehouse.store.pools import write_pool
from warehouse.store.reading import read_images

ARGUMENTS = ("name",)
WRITES = True
BEGINS = True
FLAGS = {"dry_run": "Say what would be asked and cost; ask nothing."}
PROPERTIES = (
    "animal,person,food,plant,clothing,vehicle,building,household object,tool,colour,texture,"
    "material,pattern,shape,count,size,layout,background,indoor place,outdoor place,country,"
    "landscape,weather,season,time of day,lighting,emotion,pose,action,occupation,sport,"
    "text in the picture,symbol,art style,photographic style,camera angle,image quality,era"
)


class LanguageModelConfig(Config):
    """Options of every command that asks a language model."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    llm: str = Field(description="Name of the language model on the server.")
    base_url: Address = Field(
        default=None, description="Server that speaks chat completions, ending in /v1."
    )
    key_variable: str = Field(
        default="OPENAI_API_KEY", description="Environment variable that holds the key."
    )
    concurrency: int = Field(default=8, ge=1, le=256, description="Questions in flight.")
    temperature: float | None = Field(default=None, ge=0, description="Default, the server's.")
    price_in: float | None = Field(
        default=None, ge=0, description="Price of a million tokens asked, for estimates."
    )
    price_out: float | None = Field(
        default=None, ge=0, description="Price of a million tokens answered."
    )


class PoolBuildConfig(LanguageModelConfig):
    """Options of `headatlas pool build`."""

    name: str = Field(description="Name of the pool.")
    properties: Names = Field(
        default=tuple(PROPERTIES.split(",")), description="Properties, as colour,texture."
    )
    per_property: int = Field(
        default=200, ge=0, description="Descriptions per property; 0: none by property."
    )
    classes: Path | None = Field(
        default=None, description="File with a class per line: also what its pictures may show."
    )
    per_class: int = Field(default=20, ge=1, description="Descriptions per class.")
    from_labels: str | None = Field(
        default=None,
        description="Also from the pictures' own words: label, or a metadata column as caption.",
    )
    per_labels: int = Field(default=40, ge=1, description="Descriptions per 40 labels or captions.")
    most_labels: int = Field(default=2000, ge=1, description="Labels or captions shown at most.")
    scan: str | None = Field(
        default=None, description="Scan for --from-labels, and whose model finds near-duplicates."
    )
    near: float = Field(
        default=0.97, gt=0, le=1, description="Cosine of two texts that count as one; 1: none."
    )


# Labels or captions shown to the language model in one question.
SHOWN = 40


@dataclass(frozen=True)
class Estimate:
    """What a build would ask, at most half again for properties that come back short.

    Attributes:
        questions: requests in all.
        cached: of these, answered by earlier runs.
        tokens_in, tokens_out: of the others, roughly.
        cost: in the prices' unit; None where no price is given.
    """

    questions: int
    cached: int
    tokens_in: int
    tokens_out: int
    cost: float | None


@dataclass(frozen=True)
class Built:
    """A pool that was built, what was left out, and what was paid."""

    pool: str
    path: Path
    kept: int
    properties: int
    empty: int
    duplicates: int
    near_duplicates: int
    too_long: int
    counts: Counts
    cost: float | None


@dataclass(frozen=True)
class _Question:
    """A prompt, and the property that all its descriptions have; None: each its own."""

    prompt: Prompt[Descriptions]
    size: int
    about: str | None = None


def _asker(config: LanguageModelConfig) -> Asker:
    """Return what asks, with the replies of all earlier runs on this warehouse."""
    server = Server(
        config.llm,
        config.base_url,
        config.key_variable,
        concurrency=config.concurrency,
        temperature=config.temperature,
    )
    return asker_of(config.warehouse, server)


def cost(config: LanguageModelConfig, tokens_in: int, tokens_out: int) -> float | None:
    """Return the price of so many tokens; None where no price is given."""
    if config.price_in is None or config.price_out is None:
        return None
    return (tokens_in * config.price_in + tokens_out * config.price_out) / 1e6


def estimate(config: PoolBuildConfig) -> Estimate:
    """Say what a build would ask and cost; nothing is asked."""
    questions = _questions(config)
    asker = _asker(config)
    new = [q for q in questions if asker.known(q.prompt) is None]
    tokens_in, _ = estimate_tokens([q.prompt for q in new], 0)
    tokens_out = round(sum(q.size for q in new) * WORDS * 1.4)
    known = len(questions) - len(new)
    price = cost(config, tokens_in, tokens_out)
    return Estimate(len(questions), known, tokens_in, tokens_out, price)


def build(config: PoolBuildConfig) -> Built:
    """Build a pool, replacing one of the same name; what was paid for before is not asked again.

    Raises:
        UsageError: nothing is asked for, or a file, column or key is missing.
        LanguageModelError: the server fails, or nothing usable came.
    """
    check_name(config.name, "pool")
    asker, gathered = _asker(config), Gathered()
    questions = _questions(config)
    _ask(asker, questions, gathered)
    for again in range(1, ROUNDS):
        more = _short(config, gathered, again)
        if not more or _ask(asker, more, gathered) == 0:
            break
    if not gathered.descriptions:
        raise LanguageModelError(
            f"{asker.server.url}: no usable description in {len(questions)} answers of "
            f"{config.llm}: {asker.counts.thrown_away or 'nothing new'}; try another --llm"
        )
    kept = _cleaned(config, gathered)
    counts = asker.counts
    if counts.thrown_away:
        console.note(f"answers of {config.llm} thrown away: {counts.thrown_away}")
    path = write_pool(
        Warehouse(config.warehouse),
        config.name,
        [d.text for d in kept.descriptions],
        [d.property for d in kept.descriptions],
        source=config.llm,
        provenance={
            "source": "language model",
            "model": config.llm,
            "base_url": asker.server.url,
            "prompts_sha256": digest([[q.prompt.system, q.prompt.user] for q in questions]),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "options": config.model_dump(mode="json", exclude={"warehouse", "key_variable"}),
            "left_out": {k: v for k, v in asdict(kept).items() if isinstance(v, int)},
            "unanswered": counts.unanswered,
        },
    )
    return Built(
        config.name,
        path,
        len(kept.descriptions),
        len({d.property for d in kept.descriptions if d.property}),
        kept.empty,
        kept.duplicates,
        kept.near_duplicates,
        kept.too_long,
        counts,
        cost(config, counts.prompt_tokens, counts.completion_tokens),
    )


def _questions(config: PoolBuildConfig) -> list[_Question]:
    """Return the first round of questions, in the order of their answers in the pool."""
    found = [
        _Question(property_prompt(name, size, part), size, name.replace(" ", "_"))
        for name in config.properties
        for part, size in enumerate(parts_needed(config.per_property))
    ]
    for name in _classes(config.classes):
        prompt = class_prompt(name, config.properties, config.per_class)
        found.append(_Question(prompt, config.per_class))
    for values in _shown(config):
        prompt = grounded_prompt(values, config.properties, config.per_labels)
        found.append(_Question(prompt, config.per_labels))
    if not found:
        raise UsageError("nothing to ask: give --per-property, --classes or --from-labels")
    return found


def _short(config: PoolBuildConfig, gathered: Gathered, again: int) -> list[_Question]:
    """Return questions for the properties that have fewer descriptions than asked for."""
    found = []
    for name in config.properties:
        about = name.replace(" ", "_")
        missing = config.per_property - gathered.count(about)
        for i, size in enumerate(parts_needed(missing) if missing > 0 else []):
            part = again * 1000 + i
            found.append(_Question(property_prompt(name, size, part), size, about))
    return found


def _ask(asker: Asker, questions: Sequence[_Question], gathered: Gathered) -> int:
    """Ask, and add the answers in the order of the questions; return how many were new."""
    with console.progress("Asking", len(questions), "questions") as advance:
        answers = asker.ask([q.prompt for q in questions], advance)
    return sum(gathered.add(a, q.about) for q, a in zip(questions, answers, strict=True))


def _classes(path: Path | None) -> list[str]:
    if path is None:
        return []
    lines = read_lines(path, "a text file with one class per line")
    names = [line.rpartition("\t")[2].strip() for line in lines]
    return list(dict.fromkeys(name for name in names if name))


def _shown(config: PoolBuildConfig) -> Iterator[list[str]]:
    """Yield the collection's own words, commonest first, as many as one question shows."""
    if config.from_labels is None:
        return
    scan, snapshot = snapshots.open_scan(Warehouse(config.warehouse), config.scan)
    shards = [live.shard for live in snapshot.shards]
    require_columns(scan, shards, [config.from_labels])
    counted: dict[str, int] = {}
    for shard in shards:
        rows = read_images(scan, [shard], ["label", "metadata"])
        for value in column(rows, config.from_labels):
            if value:
                counted[value] = counted.get(value, 0) + 1
    if not counted:
        raise UsageError(
            f"--from-labels {config.from_labels}: no picture of scan {scan.name} has a value there"
        )
    common = sorted(counted, key=lambda v: (-counted[v], v))[: config.most_labels]
    for start in range(0, len(common), SHOWN):
        yield common[start : start + SHOWN]


def _cleaned(config: PoolBuildConfig, gathered: Gathered) -> Kept:
    """Leave out texts over the model's context, and near-duplicates by its text encoder."""
    found = gathered.descriptions
    warehouse = Warehouse(config.warehouse)
    if config.scan is None and not warehouse.scans():
        console.note("no scan to take a text encoder from: near-duplicates are not looked for")
        return Kept(tuple(found), gathered.empty, gathered.duplicates)
    scan, _ = snapshots.open_scan(warehouse, config.scan)
    model = load_recorded(scan.load_record())
    fits = model.fits([d.text for d in found]).tolist()
    short = [d for d, ok in zip(found, fits, strict=True) if ok]
    too_long = len(found) - len(short)
    if not short:
        raise LanguageModelError(
            f"all {too_long} descriptions of {config.llm} are longer than {model.record.model} "
            "can read; nothing is written: try another --llm"
        )
    dropped: set[int] = set()
    if config.near < 1:
        embedded = model.encode_text([d.text for d in short]).numpy()
        dropped = set(near_duplicates(embedded, config.near).tolist())
    kept = [d for i, d in enumerate(short) if i not in dropped]
    return Kept(tuple(kept), gathered.empty, gathered.duplicates, len(dropped), too_long)


def run(config: PoolBuildConfig, *, dry_run: bool = False) -> Built | Estimate:
    """Build a pool, or with `dry_run` say what a build would ask and cost.

    Raises:
        UsageError: nothing is asked for, or a file, column or key is missing.
        LanguageModelError: the server fails, or nothing usable came.
    """
    return estimate(config) if dry_run else build(config)


def say(config: PoolBuildConfig, done: Built | Estimate) -> None:
    """Print what was kept, left out and paid; or what would be asked."""
    rows: list[tuple[str, object]]
    if isinstance(done, Estimate):
        rows = [
            ("questions", done.questions),
            ("answered by earlier runs", done.cached),
            ("tokens asked, about", done.tokens_in),
            ("tokens answered, about", done.tokens_out),
            ("cost, about", "give --price-in and --price-out" if done.cost is None else done.cost),
        ]
        console.table("A build would ask this; nothing was asked", ("", ""), rows)
        return
    counts = done.counts
    rows = [
        ("descriptions", done.kept),
        ("properties", done.properties),
        ("repeated", done.duplicates),
        ("nearly repeated", done.near_duplicates),
        ("too long for the model", done.too_long),
        ("empty", done.empty),
        ("answers paid for now", counts.paid),
        ("answers of earlier runs", counts.cached),
        ("answers thrown away: malformed", counts.malformed),
        ("cut off", counts.cut_off),
        ("refused", counts.refused),
        ("empty answers", counts.empty),
        ("questions without an answer", counts.unanswered),
        ("tokens asked", counts.prompt_tokens),
        ("tokens answered", counts.completion_tokens),
        *([] if done.cost is None else [("cost", done.cost)]),
    ]
    console.table(f"Pool {done.pool}", ("", ""), rows)
