"""Means of what the model's components write, over pictures of a scan: made in chunks, and kept.

Effects and ablations replace components by these. Which pictures they are over and of which layers
decides the folder that the chunks are kept in, so that other targets or sets use them again.
"""

from functools import partial
from typing import Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from jobs import console
from jobs.steps.chunks import Resources, add_up, do_missing, require_used
from jobs.steps.stored_chunks import stored_chunks
from jobs.workers.means import MeansSpec, MeansWorker
from jobs.workers.stored_pictures import StoredSpec, reject_stored
from pipeline.heads.position_means import Layers, PositionSums
from schemas.manifest import digest
from schemas.text import how_many
from warehouse.store.opened import OpenedScan
from warehouse.store.sums import read_sums


class OnModel(Resources, Protocol):
    """The options of a command that runs a scan's model on its pictures again."""

    @property
    def model(self) -> str | None:
        """Where the model is now."""

    @property
    def pretrained(self) -> str | None:
        """Where the weights are now."""

    @property
    def batch_size(self) -> int:
        """Pictures per forward pass."""

    @property
    def shard_size(self) -> int:
        """Pictures per task."""


def stored_spec(config: OnModel, opened: OpenedScan, cpus: int) -> StoredSpec:
    """Return what a worker on a scan's pictures needs to start."""
    record = opened.record
    return StoredSpec(
        record=record,
        model=config.model or record.model_path,
        pretrained=config.pretrained or record.pretrained_path,
        batch_size=config.batch_size,
        cpus=cpus,
    )


def part_means(
    config: OnModel,
    opened: OpenedScan,
    images: pa.Table,
    places: Int64[np.ndarray, " image"],
    layers: Layers,
) -> tuple[PositionSums, list[tuple[str, str]]]:
    """Return the sums of components' parts over some pictures, and the pictures left out.

    Args:
        config: who does it.
        opened: the scan.
        images: its image rows.
        places: the pictures, as rows of these.
        layers: whose parts.

    Raises:
        RunFailed: none of the pictures could be used, or some chunks failed for good.
    """
    every = len(places) == len(images)
    if every and not layers.mlps and not layers.cls:
        kept = read_sums(opened.scan, opened.shards, "means")
        if kept is not None and set(layers.heads) <= set(opened.record.layers):
            console.note("means over all pictures, as the scan has kept them")
            return PositionSums.from_table(kept), []
    wanted = [list(layers.heads), list(layers.mlps), list(layers.cls)]
    of = [2, opened.record.fingerprint(), opened.content.pictures, wanted]
    which = "all" if every else images["image_id"].take(pa.array(places)).to_pylist()
    folder = opened.scan.unfinished / f"means-{digest([*of, which, config.shard_size])[:16]}"

    def make(cpus: int) -> MeansWorker:
        return MeansWorker(MeansSpec(**vars(stored_spec(config, opened, cpus)), layers=layers))

    console.note(
        f"means over {how_many(len(places), 'picture')} of {'the scan' if every else 'a sample'}"
    )
    files = do_missing(
        "Means",
        stored_chunks(images.take(pa.array(places)), config.shard_size, folder),
        config,
        make,
        partial(reject_stored, PositionSums().to_table()),
    )
    sums = PositionSums()
    rejects = add_up(files, sums)
    require_used(bool(sums.count), len(places), rejects)
    return sums, rejects
