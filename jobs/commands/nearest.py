"""Find the pictures most alike in what chosen heads write, to a picture or a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float
from pydantic import Field

from jobs import console
from jobs.steps.models import load_for
from jobs.steps.neighbour_sheets import write_sheets
from jobs.steps.opened import open_scan
from pipeline.heads.retrieval import Scores, best
from pipeline.heads.stored_frames import Frames
from pipeline.pictures.decode import Decoding, Rejected, decode
from schemas.config import Config, Metric
from schemas.errors import UnknownName, UsageError
from schemas.names import head_name, parse_head
from warehouse.database.query import query
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.files import read_result
from warehouse.store.reading import read_head, read_images
from warehouse.store.select import select_images

ARGUMENTS = ("query",)


class NearestConfig(Config):
    """Options of `headatlas nearest`."""

    query: str | None = Field(
        default=None, description="Key of a stored picture, or a picture file."
    )
    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    head: tuple[str, ...] = Field(default=(), description="Head, as L22H11; may be given again.")
    role: str | None = Field(default=None, description="All heads that carry this role.")
    text: str | None = Field(default=None, description="A text, instead of a picture.")
    k: int = Field(default=10, ge=1, description="Pictures to return.")
    where: str | None = Field(default=None, description="SQL condition over images.")
    metric: Metric = Field(default="cosine", description="cosine or dot.")
    centred: bool = Field(default=True, description="Take each head's mean off first.")
    png: Path | None = Field(default=None, description="Also draw a contact sheet.")
    html: Path | None = Field(default=None, description="Also write a page with thumbnails.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


Head = tuple[int, int]


@dataclass(frozen=True)
class Neighbour:
    """A picture that was found."""

    rank: int
    key: str
    score: float
    label: str | None
    uri: str
    fingerprint: str


@dataclass(frozen=True)
class NearestResult:
    """What was asked, and the pictures found, nearest first.

    Attributes:
        query: the key, file or text.
        stored: the picture that was asked with, where it is a stored one.
        file: where it is a file.
    """

    scan: str
    heads: tuple[str, ...]
    query: str
    neighbours: tuple[Neighbour, ...]
    stored: Neighbour | None = None
    file: Path | None = None


@dataclass(frozen=True)
class _Asked:
    """The query in each head's frame, not centred; a text is a direction and is never centred."""

    vectors: dict[Head, Float[np.ndarray, " d_head"]]
    is_text: bool
    image_id: int | None = None


def run(config: NearestConfig) -> NearestResult:
    """Find the k pictures nearest to a stored picture, a picture file or a text.

    Over several heads their coordinates are laid end to end. A stored picture is not its own
    neighbour.

    Raises:
        UsageError: not exactly one query, no head, or a picture that cannot be read.
        UnknownName: no such key, head, role or scan; the message lists what exists.
    """
    if (config.query is None) == (config.text is None):
        raise UsageError("give either a picture (a key or a file) or --text, one of them")
    warehouse = Warehouse(config.warehouse)
    opened = open_scan(warehouse, config.scan)
    scan, frames, shards = opened.scan, opened.frames, opened.shards
    heads = _heads(config, warehouse, scan, frames)
    asked = _ask(config, scan, shards, frames, heads)
    means = _means(scan) if config.centred else {}
    scores, ids = Scores(config.metric), np.empty(0, np.int64)
    for head in heads:
        ids, vectors = read_head(scan, shards, *head)
        mean = means.get(head)
        vector = asked.vectors[head]
        centre = mean is not None and not asked.is_text
        scores.add(vectors, vector - mean if centre else vector, mean)
    keep = ids != (-1 if asked.image_id is None else asked.image_id)
    if config.where is not None:
        keep &= np.isin(ids, select_images(scan, shards, config.where))
    values, ids = scores.values()[keep], ids[keep]
    rows = best(values, ids, config.k)
    found = _rows(scan, shards, ids[rows].tolist(), values[rows].tolist())
    name = config.text if config.text is not None else str(config.query)
    own, file = None, None
    if asked.image_id is not None:
        (own,) = _rows(scan, shards, [asked.image_id], [1.0])
    elif config.text is None:
        file = Path(str(config.query))
    names = tuple(head_name(*h) for h in heads)
    result = NearestResult(scan.name, names, name, found, own, file)
    write_sheets(result, config.png, config.html)
    return result


def say(config: NearestConfig, done: NearestResult) -> None:
    """Print the pictures that were found."""
    rows = [(n.rank, n.key, n.score, n.label) for n in done.neighbours]
    title = f"Nearest to {done.query} by {', '.join(done.heads)} in {done.scan}"
    console.table(title, ("rank", "key", "score", "label"), rows)


def _heads(
    config: NearestConfig, warehouse: Warehouse, scan: ScanDir, frames: Frames
) -> list[Head]:
    """Return the heads asked for, each stored by the scan."""
    stored = {(layer, h) for layer, (q, _) in frames.pairs.items() for h in range(len(q))}
    if (config.role is None) == (not config.head):
        raise UsageError("give either --head L22H11 (again for more) or --role, one of them")
    if config.role is not None:
        found = query(
            warehouse,
            "SELECT layer, head FROM head_roles WHERE scan_id = ? AND role = ? GROUP BY ALL",
            [scan.name, config.role],
        )
        heads = sorted(zip(found["layer"].to_pylist(), found["head"].to_pylist(), strict=True))
        if not heads:
            known = query(
                warehouse,
                "SELECT DISTINCT role FROM head_roles WHERE scan_id = ? AND role IS NOT NULL",
                [scan.name],
            )
            raise UnknownName.among("role", config.role, known["role"].to_pylist())
        return heads
    heads = [parse_head(name) for given in config.head for name in given.split(",")]
    for head in heads:
        if head not in stored:
            names = [head_name(*h) for h in sorted(stored)]
            raise UnknownName.among("head", head_name(*head), names)
    return heads


def _ask(
    config: NearestConfig,
    scan: ScanDir,
    shards: Sequence[str],
    frames: Frames,
    heads: Sequence[Head],
) -> _Asked:
    if config.text is not None:
        loaded = load_for(scan.load_record(), config.model, config.pretrained)
        text = loaded.encode_text([config.text])[0].double().numpy()
        return _Asked({(la, h): frames.of(la)[h].T @ text for la, h in heads}, is_text=True)
    found = read_images(scan, shards, ["image_id", "key"])
    match = found.filter(pc.equal(found["key"], config.query))
    if len(match):
        image_id = int(match["image_id"][0].as_py())
        vectors = {}
        for head in heads:
            ids, rows = read_head(scan, shards, *head)
            vectors[head] = rows[int(np.flatnonzero(ids == image_id)[0])].astype(np.float64)
        return _Asked(vectors, is_text=False, image_id=image_id)
    path = Path(str(config.query))
    if not path.is_file():
        raise UnknownName.among("picture", path, found["key"].to_pylist())
    return _Asked(_encode(config, scan, frames, heads, path), is_text=False)


def _encode(
    config: NearestConfig, scan: ScanDir, frames: Frames, heads: Sequence[Head], path: Path
) -> dict[Head, Float[np.ndarray, " d_head"]]:
    """Run the scan's model on a picture that is not in the warehouse."""
    from pipeline.heads.decompose import Decomposer

    record = scan.load_record()
    loaded = load_for(record, config.model, config.pretrained)
    try:
        picture = decode(path.read_bytes(), Decoding.of(record.model.preprocessing))
    except Rejected as verdict:
        raise UsageError(f"{path}: {verdict.reason}") from None
    pixels = loaded.transform(picture)[None].to(device=loaded.device, dtype=loaded.dtype)
    vectors = Decomposer(loaded.tower, frames, gated=record.gated)(pixels).vectors
    return {(n, head): vectors[n][0, head].double().cpu().numpy() for n, head in heads}


def _means(scan: ScanDir) -> dict[Head, Float[np.ndarray, " d_head"]]:
    table, _ = read_result(scan.heads)
    columns = (table[c].to_pylist() for c in ("layer", "head", "mean"))
    return {(la, h): np.array(mean) for la, h, mean in zip(*columns, strict=True)}


def _rows(
    scan: ScanDir, shards: Sequence[str], ids: Sequence[int], scores: Sequence[float]
) -> tuple[Neighbour, ...]:
    table = read_images(scan, shards, ["image_id", "key", "label", "uri", "fingerprint"])
    table = table.filter(pc.is_in(table["image_id"], value_set=pc.cast(list(ids), "int64")))
    known = {row["image_id"]: row for row in table.to_pylist()}
    return tuple(
        Neighbour(
            rank,
            (row := known[int(i)])["key"],
            float(score),
            row["label"],
            row["uri"],
            row["fingerprint"],
        )
        for rank, (i, score) in enumerate(zip(ids, scores, strict=True))
    )
