"""The cosine of pictures with their texts by heads of both: `headatlas pairs`."""

import time
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from jobs import console
from jobs.commands.pairs import PairsConfig, PairsResult
from jobs.steps.models import load_for
from jobs.steps.opened import Opened, open_scan
from jobs.steps.text_frames import text_frames
from pipeline.heads.components import in_joint_space, stored_in_joint_space
from pipeline.heads.decompose import Decomposer
from pipeline.heads.moments import Key
from pipeline.heads.pairs import PairMoments, pair_moments
from pipeline.heads.stored_frames import Frames
from pipeline.texts.zeroshot import label_prompt, parse_templates
from pipeline.towers.models import LoadedModel
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import safe_name
from schemas.results import KINDS
from schemas.results.head_pairs import HEAD_PAIRS, head_pairs_schema
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import read_result, write_result
from warehouse.results.registry import result_path
from warehouse.store.columns import LABEL, column, require_columns
from warehouse.store.reading import matrix, read_layer, read_mlp

# Numbers of pictures' components that are there at a time: 128 MB.
_HELD = 2**24
# Numbers of texts' components that are kept for other pictures: 256 MB.
_KEPT = 2**25
_COLUMNS = ("image_id", "label", "metadata", "embedding", "sigma", "norm")


def measure(config: PairsConfig) -> PairsResult:
    """Measure the table over a scan's pictures; see `jobs.commands.pairs.run`."""
    started = time.perf_counter()
    opened = open_scan(Warehouse(config.warehouse), config.scan)
    require_columns(opened.scan, opened.shards, [config.column])
    (template,) = parse_templates([config.template], "template")
    name = config.name or safe_name(config.column)
    now, kind = Now.opened(opened), KINDS[HEAD_PAIRS]
    options = {"column": config.column, "template": template}
    claim = now.claim(kind, {Part.OPTIONS: options})
    path = result_path(opened.scan, kind, name)
    reused = now.why_not(path, claim) is None
    if not reused:
        loaded = load_for(opened.record, config.model, config.pretrained)
        frames = text_frames(opened.scan, now, loaded.text_tower, opened.record.model.model)
        measured = _Measured(config, opened, loaded, frames)
        found = measured.run(template)
        counted = {"pairs": found.n, "without": measured.without, "cosine": found.cosine}
        write_result(path, measured.table(found), now.provenance(claim, **counted))
    table, said = read_result(path)
    both = (table["image_kind"].to_numpy() == "head") & (table["text_kind"].to_numpy() == "head")
    shares = table["share"].to_numpy(zero_copy_only=False)
    return PairsResult(
        name=name,
        scan=opened.name,
        pairs=said["pairs"],
        without=said["without"],
        cosine=said["cosine"],
        heads=float(shares[both].sum()),
        path=path,
        reused=reused,
        seconds=time.perf_counter() - started,
    )


class _Measured:
    """A pass over the stored shards, and over the texts of their pictures."""

    def __init__(
        self, config: PairsConfig, opened: Opened, loaded: LoadedModel, frames: Frames
    ) -> None:
        self.config, self.opened, self.loaded = config, opened, loaded
        self.texts = Decomposer(loaded.text_tower, frames)
        layers = opened.record.layers
        pool = opened.record.model.pool_layer
        # behind a pool there are two sums of the embedding: by the pool's heads, or the trunk's
        self.layers = [pool] if pool in layers else list(layers)
        chosen = Frames({layer: opened.frames.pairs[layer] for layer in self.layers})
        self.pictures = Decomposer(loaded.tower, chosen, gated=opened.record.gated)
        stored_mlp = pool is None and "mlp" in opened.record.stored
        self.mlps = range(opened.record.model.n_layers) if stored_mlp else range(0)
        self.kept: dict[str, Float[np.ndarray, "part d_joint"]] = {}
        self.keys: tuple[tuple[Key, ...], tuple[Key, ...]] = ((), ())
        self.without = 0

    def run(self, template: str) -> PairMoments:
        """Return the moments over all pictures that have a text."""
        total: PairMoments | None = None
        done = 0
        with console.progress("Pairs", self.opened.snapshot.images) as advance:
            for shard in self.opened.shards:
                rows = self.opened.images_of(shard, _COLUMNS)
                values = column(rows, self.config.column)
                has = np.array([i for i, value in enumerate(values) if value is not None], int)
                self.without += len(values) - len(has)
                prompts = {i: self._prompt(template, values[i]) for i in has.tolist()}
                stored = self._stored(shard)
                step = max(1, _HELD // ((len(stored) + 4) * rows["embedding"].type.list_size))
                for start in range(0, len(has), step):
                    some = has[start : start + step]
                    found = self._some(rows.take(some), stored, some, [prompts[i] for i in some])
                    total = found if total is None else total.merge(found)
                done += len(values)
                advance(done)
        if total is None:
            raise UsageError(
                f"no picture of scan {self.opened.name!r} has a {self.config.column}; give a "
                "column that holds texts"
            )
        return total

    def _prompt(self, template: str, value: str | None) -> str:
        assert value is not None
        text = label_prompt(value) if self.config.column == LABEL else value
        return template.replace("{}", text)

    def _stored(self, shard: str) -> dict[Key, np.ndarray]:
        found: dict[Key, np.ndarray] = {}
        for layer in self.layers:
            for head, vectors in enumerate(read_layer(self.opened.scan, shard, layer).vectors):
                found["head", layer, head] = vectors
        for layer in self.mlps:
            found["mlp", layer, -1] = read_mlp(self.opened.scan, shard, layer)
        return found

    def _some(
        self, rows: pa.Table, stored: dict[Key, np.ndarray], at: np.ndarray, texts: list[str]
    ) -> PairMoments:
        pictures, parts = stored_in_joint_space(
            self.pictures,
            {key: vectors[at] for key, vectors in stored.items()},
            matrix(rows["embedding"]),
            rows["sigma"].to_numpy(),
            rows["norm"].to_numpy(),
        )
        own = self._of_texts(texts)
        self.keys = (pictures, self.keys[1])
        return pair_moments(parts, own)

    def _of_texts(self, texts: list[str]) -> Float[np.ndarray, "pair part d_joint"]:
        """Return the components of each picture's text; those of earlier pictures are kept."""
        wanted = dict.fromkeys(texts)
        if self.kept:
            one = next(iter(self.kept.values())).size
            new = sum(text not in self.kept for text in wanted)
            if (len(self.kept) + new) * one > _KEPT:
                self.kept = {text: self.kept[text] for text in wanted if text in self.kept}
        missing = [text for text in wanted if text not in self.kept]
        for start in range(0, len(missing), self.config.batch_size):
            some = missing[start : start + self.config.batch_size]
            ids = self.loaded.tokenizer(some).to(self.loaded.device)
            if not self.keys[1]:
                self.texts.check(ids[:16])
            keys, parts = in_joint_space(self.texts, self.texts(ids))
            self.keys = (self.keys[0], keys)
            self.kept |= dict(zip(some, parts, strict=True))
        return np.stack([self.kept[text] for text in texts])

    def table(self, found: PairMoments) -> pa.Table:
        """Return the table's rows."""
        shares = found.shares
        rows: list[dict[str, Any]] = []
        for i, image in enumerate(self.keys[0]):
            for j, text in enumerate(self.keys[1]):
                share = float(shares[i, j])
                rows.append(
                    {
                        **_named("image", image),
                        **_named("text", text),
                        "n": found.n,
                        "mean": float(found.mean[i, j]),
                        "share": share if np.isfinite(share) else None,
                    }
                )
        return pa.Table.from_pylist(rows, schema=head_pairs_schema())


def _named(side: str, key: Key) -> dict[str, Any]:
    kind, layer, head = key
    return {
        f"{side}_kind": kind,
        f"{side}_layer": None if layer < 0 else layer,
        f"{side}_head": None if head < 0 else head,
    }
