"""Which words heads of the text tower carry, over a grid of texts: `headatlas texts --grid`."""

import time
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from jobs import console
from jobs.commands.texts import TextsConfig, TextsResult
from jobs.steps.models import load_for
from jobs.steps.text_frames import text_frames
from pipeline.heads.decompose import Decomposer
from pipeline.heads.factors import factor_shares
from pipeline.heads.stored_frames import Frames
from pipeline.texts.grids import Grid, parse_grid
from pipeline.towers.models import LoadedModel
from schemas.kinds import Part
from schemas.names import head_name, parse_layers, safe_name
from schemas.results import KINDS
from schemas.results.text_head_words import TEXT_HEAD_WORDS, text_head_words_schema
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import write_result
from warehouse.results.registry import result_path
from warehouse.store.opened import open_snapshot

EMBEDDING = "embedding"


def measure(config: TextsConfig) -> TextsResult:
    """Measure shares of variance over a grid; see `jobs.commands.texts.run`."""
    started = time.perf_counter()
    assert config.grid is not None
    grid = parse_grid(config.grid, config.values)
    opened = open_snapshot(Warehouse(config.warehouse), config.scan)
    now, kind = Now.opened(opened), KINDS[TEXT_HEAD_WORDS]
    loaded = load_for(opened.record, config.model, config.pretrained)
    tower = loaded.text_tower
    layers = parse_layers(config.layers, tower.n_layers)
    name = config.name or safe_name(grid.template)[:60].strip("-.")
    options: dict[str, Any] = {"template": grid.template, "layers": list(layers)}
    options |= {"values": {slot: list(words) for slot, words in grid.slots.items()}}
    options["precision"] = opened.record.precision
    claim = now.claim(kind, {Part.OPTIONS: options})
    path = result_path(opened.scan, kind, name)
    reused = now.why_not(path, claim) is None
    texts = grid.texts
    if not reused:
        frames = text_frames(opened.scan, now, tower, opened.record.model.model)
        chosen = Frames({layer: frames.pairs[layer] for layer in layers})
        vectors = _vectors(config, loaded, chosen, texts)
        write_result(path, _table(vectors, grid), now.provenance(claim, template=grid.template))
    return TextsResult(
        name=name,
        scan=opened.name,
        texts=len(texts),
        cut=int((~loaded.fits(texts)).sum()),
        heads=sum(tower.blocks[layer].n_heads for layer in layers),
        paths={TEXT_HEAD_WORDS: path},
        reused=reused,
        seconds=time.perf_counter() - started,
    )


_Head = tuple[int | None, int | None]


def _vectors(
    config: TextsConfig, loaded: LoadedModel, frames: Frames, texts: list[str]
) -> dict[_Head, Float[np.ndarray, "text _"]]:
    """Return every head's vectors, and the embedding under (None, None)."""
    decomposer = Decomposer(loaded.text_tower, frames)
    found: dict[_Head, list[np.ndarray]] = {(None, None): []}
    with console.progress("Decomposing the grid", len(texts), "texts") as advance:
        for start in range(0, len(texts), config.batch_size):
            some = texts[start : start + config.batch_size]
            ids = loaded.tokenizer(some).to(loaded.device)
            if start == 0:
                decomposer.check(ids[:16])
            parts = decomposer(ids)
            found[None, None].append(parts.embedding.double().cpu().numpy())
            for layer, vectors in parts.vectors.items():
                for head, own in enumerate(vectors.transpose(0, 1).double().cpu().numpy()):
                    found.setdefault((layer, head), []).append(own)
            advance(start + len(some))
    return {head: np.concatenate(parts) for head, parts in found.items()}


def _table(vectors: dict[_Head, Float[np.ndarray, "text _"]], grid: Grid) -> pa.Table:
    rows = []
    for (layer, head), own in vectors.items():
        shares = factor_shares(own.reshape(*grid.shape, -1), list(grid.slots))
        for effect, share in shares.items():
            rows.append(
                {
                    "layer": layer,
                    "head": head,
                    "name": EMBEDDING if layer is None or head is None else head_name(layer, head),
                    "effect": " x ".join(effect),
                    "slots": len(effect),
                    "share": share if np.isfinite(share) else None,
                    "variance": float(own.var(axis=0).sum()),
                    "n": len(own),
                }
            )
    return pa.Table.from_pylist(rows, schema=text_head_words_schema())
