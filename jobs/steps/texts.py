"""What heads of the text tower write of a pool's texts: `headatlas texts`."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from jobs import console
from jobs.commands.texts import TextsConfig, TextsResult
from jobs.steps.models import load_for
from jobs.steps.span_table import span_table
from jobs.steps.text_frames import text_frames
from jobs.steps.text_words import WordRows, head_rows, shares_of
from pipeline.heads import moments as mo
from pipeline.heads.decompose import Decomposer
from pipeline.heads.stored_frames import Frames
from pipeline.heads.summary import heads_table
from pipeline.heads.textspan import textspan
from pipeline.towers.models import LoadedModel
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import parse_layers
from schemas.results import KINDS
from schemas.results.text_contributions import TEXT_CONTRIBUTIONS, text_contributions_schema
from schemas.results.text_heads import TEXT_HEADS, text_heads_schema
from schemas.results.text_textspan import TEXT_TEXTSPAN, text_textspan_schema
from schemas.results.text_words import TEXT_WORDS
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import stream_result, write_result
from warehouse.results.registry import result_path
from warehouse.store.opened import OpenedScan, open_snapshot
from warehouse.store.pools import Pool, read_pool

# Numbers in a file of vectors above which nothing is stored: 0.8 GB in the database.
MOST_NUMBERS = 200_000_000
# Texts on which the sum of parts is checked.
_CHECKED = 16


def decompose(config: TextsConfig) -> TextsResult:
    """Decompose a pool's texts; see `jobs.commands.texts.run`."""
    started = time.perf_counter()
    warehouse = Warehouse(config.warehouse)
    assert config.pool is not None
    pool = read_pool(warehouse, config.pool)
    if "weights_sha256" in pool.provenance:
        raise UsageError(
            f"pool {pool.name} holds vectors, no texts to encode; expected a pool of texts, as "
            "headatlas pool import makes of a file of lines"
        )
    opened = open_snapshot(warehouse, config.scan)
    now = Now.opened(opened)
    loaded = load_for(opened.record, config.model, config.pretrained)
    tower = loaded.text_tower
    layers = parse_layers(config.layers, tower.n_layers)
    kinds = [TEXT_CONTRIBUTIONS, TEXT_HEADS, TEXT_TEXTSPAN, *([TEXT_WORDS] * config.words)]
    claims = {kind: now.claim(KINDS[kind], _given(config, opened, layers, kind)) for kind in kinds}
    paths = {kind: result_path(opened.scan, KINDS[kind], pool.name) for kind in kinds}
    reused = all(now.why_not(paths[kind], claims[kind]) is None for kind in kinds)
    if not reused:
        frames = text_frames(opened.scan, now, tower, opened.record.model.model)
        frames = Frames({layer: frames.pairs[layer] for layer in layers})
        provenances = {kind: now.provenance(claim) for kind, claim in claims.items()}
        _store(config, pool, loaded, frames, paths, provenances)
    return TextsResult(
        name=pool.name,
        scan=opened.name,
        texts=len(pool.texts),
        cut=int((~loaded.fits(list(pool.texts))).sum()),
        heads=sum(tower.blocks[layer].n_heads for layer in layers),
        paths=paths,
        reused=reused,
        seconds=time.perf_counter() - started,
    )


def _given(
    config: TextsConfig, opened: OpenedScan, layers: tuple[int, ...], kind: str
) -> dict[Part, Any]:
    options: dict[str, Any] = {"layers": list(layers), "precision": opened.record.precision}
    if kind == TEXT_TEXTSPAN:
        options["m"] = config.m
    return {Part.POOL: config.pool, Part.OPTIONS: options}


def _store(
    config: TextsConfig,
    pool: Pool,
    loaded: LoadedModel,
    frames: Frames,
    paths: dict[str, Path],
    provenances: dict[str, dict[str, Any]],
) -> None:
    tower, texts = loaded.text_tower, len(pool.texts)
    width = next(iter(frames.pairs.values()))[1].shape[-1]
    heads = {layer: len(q) for layer, (q, _) in frames.pairs.items()}
    _not_too_many(texts * sum(heads.values()) * width, TEXT_CONTRIBUTIONS)
    decomposer = Decomposer(tower, frames)
    vectors = {layer: np.empty((n, texts, width), np.float16) for layer, n in heads.items()}
    shares = {layer: np.empty((n, texts), np.float32) for layer, n in heads.items()}
    embedding = np.empty((texts, tower.d_joint), np.float32)
    words = WordRows(decomposer, loaded.tokenizer) if config.words else None
    with console.progress(f"Decomposing pool {pool.name}", texts, "texts") as advance:
        for start in range(0, texts, config.batch_size):
            some = list(pool.texts[start : start + config.batch_size])
            ids = loaded.tokenizer(some).to(loaded.device)
            if start == 0:
                decomposer.check(ids[:_CHECKED])
            found = decomposer(ids)
            to = slice(start, start + len(some))
            embedding[to] = found.embedding.float().cpu().numpy()
            for layer, new in found.vectors.items():
                vectors[layer][:, to] = new.transpose(0, 1).half().cpu().numpy()
                share = shares_of(new.transpose(0, 1), found.embedding, decomposer.q[layer])
                shares[layer][:, to] = share.float().cpu().numpy()
            if words is not None:
                words.add(ids, start)
                _not_too_many(len(words.words) * sum(heads.values()) * width, TEXT_WORDS)
            advance(to.stop)
    schema = text_contributions_schema(width)
    with stream_result(
        paths[TEXT_CONTRIBUTIONS], schema, provenances[TEXT_CONTRIBUTIONS]
    ) as writer:
        for layer, of in vectors.items():
            for head, own in enumerate(of):
                columns = {"description_id": np.arange(texts), "share": shares[layer][head]}
                writer.write_table(head_rows(layer, head, own, columns, schema))
    if words is not None:
        words.write(paths[TEXT_WORDS], provenances[TEXT_WORDS])
    found_moments = mo.shard_moments(vectors, embedding, {}, dict(frames.narrow()))
    write_result(
        paths[TEXT_HEADS], heads_table(found_moments, text_heads_schema()), provenances[TEXT_HEADS]
    )
    spanned = _textspan_table(config.m, pool, frames, found_moments, embedding)
    write_result(paths[TEXT_TEXTSPAN], spanned, provenances[TEXT_TEXTSPAN])


def _not_too_many(numbers: int, kind: str) -> None:
    if numbers > MOST_NUMBERS:
        raise UsageError(
            f"{kind} would hold {numbers:,} numbers, expected at most {MOST_NUMBERS:,}; give fewer "
            "--layers, as last:4, or a smaller pool"
        )


def _textspan_table(
    m: int,
    pool: Pool,
    frames: Frames,
    moments: dict[mo.Key, mo.Moments],
    embedding: Float32[np.ndarray, "text d_joint"],
) -> pa.Table:
    """Return which of the texts span each head's contributions to all of them."""
    heads = mo.head_keys(moments)
    basis = textspan(
        [moments["head", *head].covariance for head in heads],
        [frames.of(layer)[head] for layer, head in heads],
        embedding,
        m,
    )
    return span_table(basis, heads, pool, text_textspan_schema())
