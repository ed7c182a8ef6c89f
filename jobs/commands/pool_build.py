"""`headatlas pool build`: a description pool by a language model; and the baselines' pools."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from jobs import console
from jobs.steps.models import load_for
from pipeline.texts.llm import Asker, Counts, Prompt, Server, estimate_tokens
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
    random_directions,
)
from schemas.config_roles import (
    LanguageModelConfig,
    PoolBuildConfig,
    PoolRandomConfig,
    PoolWordsConfig,
)
from schemas.errors import LanguageModelError, UsageError
from schemas.manifest import digest
from schemas.names import check_name
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.columns import column, require_columns
from warehouse.store.pools import EmbeddedBy, write_embeddings, write_pool
from warehouse.store.reading import read_images

# Labels or captions shown to the language model in one question.
SHOWN = 40
# Raw replies of language models, below a warehouse.
REPLIES = Path("pools") / ".replies"


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


def asker_of(config: LanguageModelConfig) -> Asker:
    """Return what asks, with the replies of all earlier runs on this warehouse."""
    server = Server(
        config.llm,
        config.base_url,
        config.key_variable,
        concurrency=config.concurrency,
        temperature=config.temperature,
    )
    return Asker(server, config.warehouse / REPLIES)


def cost(config: LanguageModelConfig, tokens_in: int, tokens_out: int) -> float | None:
    """Return the price of so many tokens; None where no price is given."""
    if config.price_in is None or config.price_out is None:
        return None
    return (tokens_in * config.price_in + tokens_out * config.price_out) / 1e6


def estimate(config: PoolBuildConfig) -> Estimate:
    """Say what a build would ask and cost; nothing is asked."""
    questions = _questions(config)
    asker = asker_of(config)
    new = [q for q in questions if asker.known(q.prompt) is None]
    tokens_in, _ = estimate_tokens([q.prompt for q in new], 0)
    tokens_out = round(sum(q.size for q in new) * WORDS * 1.4)
    known = len(questions) - len(new)
    price = cost(config, tokens_in, tokens_out)
    return Estimate(len(questions), known, tokens_in, tokens_out, price)


def run(config: PoolBuildConfig) -> Built:
    """Build a pool, replacing one of the same name; what was paid for before is not asked again.

    Raises:
        UsageError: nothing is asked for, or a file, column or key is missing.
        LanguageModelError: the server fails, or nothing usable came.
    """
    check_name(config.name, "pool")
    asker, gathered = asker_of(config), Gathered()
    questions = _questions(config)
    _ask(asker, questions, gathered)
    for again in range(1, ROUNDS):
        more = _short(config, gathered, again)
        if not more or _ask(asker, more, gathered) == 0:
            break
    if not gathered.descriptions:
        raise LanguageModelError(
            f"{asker.server.url}: no usable description in {len(questions)} answers of "
            f"{config.llm}; try another --llm"
        )
    kept = _cleaned(config, gathered)
    counts = asker.counts
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
    if not path.is_file():
        raise UsageError(f"no file {path}; give a text file with one class per line")
    names = [line.rpartition("\t")[2].strip() for line in path.read_text().splitlines()]
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
    model = load_for(scan.load_record())
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


def run_words(config: PoolWordsConfig) -> int:
    """Write a pool of the commonest English words, the paper's baseline; return how many."""
    from wordfreq import top_n_list

    words = [w for w in top_n_list("en", config.count * 2) if w.isalpha()][: config.count]
    provenance = {"source": "wordfreq, commonest English words", "created_at": _now()}
    nothing: list[str | None] = [None] * len(words)
    write_pool(
        Warehouse(config.warehouse),
        config.name,
        words,
        nothing,
        source="words",
        provenance=provenance,
    )
    return len(words)


def run_random(config: PoolRandomConfig) -> int:
    """Write a pool of random unit vectors, for the model of one scan; return how many."""
    warehouse = Warehouse(config.warehouse)
    scan, _ = snapshots.open_scan(warehouse, config.scan)
    record = scan.load_record()
    texts = [f"random direction {i}" for i in range(config.count)]
    nothing: list[str | None] = [None] * len(texts)
    provenance: dict[str, Any] = {
        "source": "random directions",
        "seed": config.seed,
        "weights_sha256": record.model.weights_sha256,
        "created_at": _now(),
    }
    write_pool(warehouse, config.name, texts, nothing, source="random", provenance=provenance)
    vectors = random_directions(config.count, record.model.d_joint, config.seed)
    by = EmbeddedBy(record.model.weights_sha256, record.precision)
    write_embeddings(warehouse, config.name, by, np.asarray(vectors))
    return len(texts)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
