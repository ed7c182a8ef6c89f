"""What heads read from earlier components, over a data set: `headatlas edges`."""

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs import console
from jobs.commands.edges import EdgesConfig, EdgesResult
from jobs.steps.chunks import add_up, do_missing, left_out, require_used
from jobs.steps.models import load_for
from jobs.steps.stored_chunks import stored_chunks
from jobs.steps.stratified import stratified
from jobs.workers.edges import EdgesWorker
from jobs.workers.stored_pictures import SOURCE, StoredSpec, reject_stored
from pipeline.heads.edge_source import Source
from pipeline.heads.edge_sums import EdgeSums
from pipeline.heads.edges import Edges, sources
from schemas.kinds import Part
from schemas.names import head_name
from schemas.results import KINDS
from schemas.results.head_edges import HEAD_EDGES, head_edges_schema
from schemas.results.second_order_effects import (
    SECOND_ORDER_EFFECTS,
    second_order_effects_schema,
)
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import read_result, write_result
from warehouse.results.registry import result_path
from warehouse.store.opened import OpenedScan, open_snapshot
from warehouse.store.sums import read_sums

_KINDS = (HEAD_EDGES, SECOND_ORDER_EFFECTS)


def measure(config: EdgesConfig) -> EdgesResult:
    """Measure every head's sources; see `jobs.commands.edges.run`."""
    started = time.perf_counter()
    opened = open_snapshot(Warehouse(config.warehouse.absolute()), config.scan)
    now = Now.opened(opened)
    options = config.model_dump(mode="json", include={"sample", "seed", "shard_size"})
    claims = {kind: now.claim(KINDS[kind], {Part.OPTIONS: options}) for kind in _KINDS}
    paths = {kind: result_path(opened.scan, KINDS[kind], kind) for kind in _KINDS}
    path, claim = paths[HEAD_EDGES], claims[HEAD_EDGES]
    parts = opened.scan.unfinished / claim.digest[:16]
    if config.restart:
        shutil.rmtree(parts, ignore_errors=True)
        for one in paths.values():
            one.unlink(missing_ok=True)
    reused = now.why_not(path, claim) is None
    if not reused:
        sums, rejects, names = _summed(config, opened, parts)
        said = {"images": sums.count, "rejects": rejects}
        second = list(_second_rows(sums, opened.record.model.n_heads))
        paths[SECOND_ORDER_EFFECTS].unlink(missing_ok=True)
        if second:
            table = pa.Table.from_pylist(second, schema=second_order_effects_schema())
            provenance = now.provenance(claims[SECOND_ORDER_EFFECTS], **said)
            write_result(paths[SECOND_ORDER_EFFECTS], table, provenance)
        # last: what is asked whether all is there
        table = pa.Table.from_pylist(list(_rows(sums, names)), schema=head_edges_schema())
        write_result(path, table, now.provenance(claim, **said))
    shutil.rmtree(parts, ignore_errors=True)
    table, there = read_result(path)
    return EdgesResult(
        scan=opened.name,
        images=there["images"],
        edges=len(table),
        rejects=tuple(left_out(there)),
        path=path,
        reused=reused,
        seconds=time.perf_counter() - started,
    )


def _summed(
    config: EdgesConfig, opened: OpenedScan, parts: Path
) -> tuple[EdgeSums, list[tuple[str, str]], dict[int, list[Source]]]:
    """Return the sums over the pictures asked for, and each layer's sources."""
    record = opened.record
    loaded = load_for(record, config.model, config.pretrained)
    # refuses here what every worker would
    Edges(loaded.tower)
    names = {layer: sources(loaded.tower, layer) for layer in range(loaded.tower.n_layers)}
    kept = None if config.sample else read_sums(opened.scan, opened.shards, "edges")
    if kept is not None:
        console.note("the scan has kept them: no picture is read again")
        return EdgeSums.from_table(kept), [], names
    images = opened.images(SOURCE)
    count = config.sample or len(images)
    chosen = stratified(images["label"].to_pylist(), count, config.seed)

    def make(cpus: int) -> EdgesWorker:
        return EdgesWorker(
            StoredSpec(
                record=record,
                model=config.model or record.model_path,
                pretrained=config.pretrained or record.pretrained_path,
                batch_size=config.batch_size,
                cpus=cpus,
            )
        )

    chunks = stored_chunks(images.take(pa.array(chosen)), config.shard_size, parts)
    reject = partial(reject_stored, EdgeSums().to_table())
    sums = EdgeSums()
    rejects = add_up(do_missing("Paths between heads", chunks, config, make, reject), sums)
    require_used(bool(sums.count), len(chosen), rejects)
    return sums, rejects, names


def _rows(sums: EdgeSums, names: dict[int, list[Source]]) -> Iterator[dict[str, object]]:
    for layer, found in names.items():
        shares = sums.shares(layer)
        for head, own in enumerate(shares):
            for source, share in zip(found, own.tolist(), strict=True):
                yield {
                    "src_kind": source.kind,
                    "src_layer": source.layer,
                    "src_head": source.head,
                    "layer": layer,
                    "head": head,
                    "n": sums.count,
                    "share": share if np.isfinite(share) else None,
                }


def _second_rows(sums: EdgeSums, n_heads: int) -> Iterator[dict[str, object]]:
    shares = sums.second_shares()
    for at, share in enumerate([] if shares is None else shares.tolist()):
        layer, head = divmod(at, n_heads)
        yield {
            "layer": layer,
            "head": head,
            "name": head_name(layer, head),
            "n": sums.count,
            "share": share if np.isfinite(share) else None,
        }
