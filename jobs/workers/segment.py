"""The worker of `headatlas segment`: from some pictures to a file of scores. No Ray here."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from jobs.commands.segment import SegmentConfig
from jobs.steps.chunks import Chunk
from jobs.steps.decoding import decoding_of
from jobs.workers.scan import device_name, load_checked
from pipeline.maps import scoring
from pipeline.maps.measure import PeakMemory
from pipeline.maps.method import logit_scale_of
from pipeline.maps.methods.surgery import surgery_scores
from pipeline.maps.registry import given_by, methods_named
from pipeline.maps.segmenter import Segmenter
from pipeline.maps.shared import Points, points, resize
from pipeline.masks.protocol import mask_for_model
from pipeline.masks.registry import IGNORE, Example, Labelled
from pipeline.texts.class_weights import class_weights
from pipeline.towers.models import LoadedModel, load_model
from schemas.config import Precision
from schemas.errors import SourceError
from schemas.manifest import ScanRecord
from warehouse.files.atomic import write_table

# Maps of so many cells (picture x text x pixel) are made full-size at a time.
CELLS = 2**24
# After the name of a method: the masks that a segmenter makes of its points.
BY_SAM = "+sam"

SCORES = pa.schema(
    [
        pa.field("key", pa.string(), metadata={"comment": "Name of the picture."}),
        pa.field("method", pa.string(), metadata={"comment": "Null for a picture left out."}),
        pa.field("class", pa.int32(), metadata={"comment": "Class asked for, by index."}),
        pa.field("pixels", pa.int64()),
        pa.field("correct", pa.int64()),
        pa.field("intersection", pa.list_(pa.int64(), 2)),
        pa.field("union", pa.list_(pa.int64(), 2)),
        pa.field("average_precision", pa.float64()),
        pa.field("contrast", pa.float64()),
        pa.field("at_threshold", pa.list_(pa.int64(), 2 * len(scoring.THRESHOLDS))),
        pa.field(
            "cells", pa.list_(pa.int64()), metadata={"comment": "Confusion: true · n + predicted."}
        ),
        pa.field("cell_pixels", pa.list_(pa.int64()), metadata={"comment": "Pixels of each."}),
        pa.field("milliseconds", pa.float64(), metadata={"comment": "Of its share of a batch."}),
        pa.field("peak_bytes", pa.int64(), metadata={"comment": "Of its batch."}),
        pa.field("device", pa.string(), metadata={"comment": "What the maps were made on."}),
        pa.field("present", pa.list_(pa.bool_()), metadata={"comment": "Classes in the picture."}),
        pa.field("plain", pa.list_(pa.float32()), metadata={"comment": "Cosine of each class."}),
        pa.field("surgery", pa.list_(pa.float32()), metadata={"comment": "By feature surgery."}),
        pa.field("reason", pa.string(), metadata={"comment": "Why a picture was left out."}),
    ]
)


@dataclass(frozen=True)
class SegmentSpec:
    """Everything a worker needs to start.

    Attributes:
        record: of the scan whose model it is: the weights must be the same; None for a named one.
    """

    config: SegmentConfig
    data: Labelled
    methods: tuple[str, ...]
    model: str
    pretrained: str
    precision: Precision
    cpus: int
    record: ScanRecord | None = None


@dataclass(frozen=True)
class _Batch:
    """Pictures that could be read.

    Attributes:
        masks: at the model's size.
        asked: for each picture, the classes that are scored; -1 fills up.
    """

    numbers: list[int]
    examples: list[Example]
    pixels: Float[Tensor, "image 3 height width"]
    masks: list[np.ndarray]
    embedding: Float[Tensor, "image d_joint"]


class SegmentWorker:
    """Holds the model; scores the maps of one chunk of pictures after another."""

    def __init__(self, spec: SegmentSpec) -> None:
        """Load the model and embed the classes."""
        torch.set_num_threads(spec.cpus)
        self.spec = spec
        self.methods = methods_named(",".join(spec.methods), given_by(spec.config.eclip))
        self.loaded: LoadedModel = (
            load_model(spec.model, spec.pretrained, spec.precision)
            if spec.record is None
            else load_checked(spec.model, spec.pretrained, spec.record)
        )
        weights = class_weights(self.loaded.encode_text, spec.data.classes, (spec.config.template,))
        self.labels = torch.from_numpy(weights).to(self.loaded.device, self.loaded.dtype)
        self.scale = logit_scale_of(self.loaded.clip)
        self.how = decoding_of(spec.record, self.loaded.record.preprocessing)
        sam = spec.config.sam
        self.segmenter = None if sam is None else Segmenter(sam, self.loaded.device)
        self.done = 0

    def __call__(self, task: Chunk) -> Path:
        """Score a chunk and write its rows."""
        self.done = 0
        rows: list[dict[str, Any]] = []
        step = self.spec.config.batch_size
        for start in range(task.start, task.stop, step):
            numbers = range(start, min(start + step, task.stop))
            batch = self.read(numbers, rows)
            if batch is not None:
                rows += self._labels(batch)
                costs, prompts = dict[str, dict[str, Any]](), dict[str, list[list[Points]]]()
                for method in self.spec.methods:
                    values, costs[method] = self._timed(method, batch)
                    rows += self._score(method, batch, values, costs[method])
                    if self.segmenter is not None:
                        prompts[method] = self.prompts(batch, values)
                if self.segmenter is not None:
                    rows += self._segmented(self.segmenter, batch, prompts, costs)
            self.done += len(numbers)
        write_table(task.path, pa.Table.from_pylist(rows, schema=SCORES))
        self.done = 0
        return task.path

    def read(self, numbers: Iterable[int], rejects: list[dict[str, Any]]) -> _Batch | None:
        """Read pictures; those that cannot be used become rows with a reason."""
        data, kept, examples = self.spec.data, [], []
        for number in numbers:
            try:
                examples.append(data.read(number, self.how))
            except SourceError as error:
                rejects.append({"key": data.keys[number], "reason": str(error)})
                continue
            kept.append(number)
        if not kept:
            return None
        pixels = torch.stack([self.loaded.transform(e.picture) for e in examples])
        pixels = pixels.to(self.loaded.device, self.loaded.dtype)
        record = self.loaded.record.preprocessing
        masks = [mask_for_model(e.mask, record, self.spec.config.protocol) for e in examples]
        with torch.inference_mode():
            embedding = torch.nn.functional.normalize(self.loaded.tower.own(pixels).float(), dim=-1)
        return _Batch(kept, examples, pixels, masks, embedding)

    def asked(self, batch: _Batch) -> list[list[int]]:
        """Return the classes whose maps are scored, for each picture."""
        data = self.spec.data
        if data.by_class:
            return [
                [int(c) - 1 for c in np.unique(mask) if c not in (0, IGNORE)]
                for mask in batch.masks
            ]
        if self.spec.config.asked == "true":
            names = [data.labels[number] for number in batch.numbers]
            return [[data.classes.index(name)] for name in names if name is not None]
        predicted = (batch.embedding @ self.labels.float().T).argmax(dim=-1)
        return [[int(c)] for c in predicted]

    def maps(self, method: str, batch: _Batch) -> Float[Tensor, "image text grid_h grid_w"]:
        """Return a method's maps: of every class for class masks, else of the class asked for."""
        texts = self.labels
        if not self.spec.data.by_class:
            texts = self.labels[[c for (c,) in self.asked(batch)]].unsqueeze(1)
        with torch.inference_mode():
            found = self.methods[method].run(
                *(self.loaded.tower, batch.pixels, texts, self.labels), logit_scale=self.scale
            )
        return found.values

    def _timed(
        self, method: str, batch: _Batch
    ) -> tuple[Float[Tensor, "image text grid_h grid_w"], dict[str, Any]]:
        """Return a method's maps of a batch, and a picture's share of what they cost."""
        started = time.perf_counter()
        with PeakMemory(self.loaded.device) as memory:
            values = self.maps(method, batch)
            if self.loaded.device.type == "cuda":
                torch.cuda.synchronize()
        spent = (time.perf_counter() - started) * 1000 / len(batch.numbers)
        return values, self._cost(spent, memory.bytes)

    def _cost(self, milliseconds: float, peak: int) -> dict[str, Any]:
        device = device_name(self.loaded.device)
        return {"milliseconds": milliseconds, "peak_bytes": peak, "device": device}

    def prompts(
        self, batch: _Batch, values: Float[Tensor, "image text grid_h grid_w"]
    ) -> list[list[Points]]:
        """Return the points of each picture's map for each class that is scored."""
        return [
            [
                points(values[i, c if self.spec.data.by_class else 0].float().cpu(), *seen.size)
                for c in classes
            ]
            for i, (seen, classes) in enumerate(
                zip(self.pictures_of(batch), self.asked(batch), strict=True)
            )
        ]

    def masks(
        self, segmenter: Segmenter, batch: _Batch, prompts: dict[str, list[list[Points]]]
    ) -> dict[str, list[list[Bool[np.ndarray, "height width"]]]]:
        """Return, by method, the mask of each picture's points for each class that is scored."""
        found: dict[str, list[list[np.ndarray]]] = {method: [] for method in prompts}
        for i, seen in enumerate(self.pictures_of(batch)):
            masks = iter(segmenter(seen, [one for some in prompts.values() for one in some[i]]))
            for method, some in prompts.items():
                found[method].append(list(islice(masks, len(some[i]))))
        return found

    def _segmented(
        self,
        segmenter: Segmenter,
        batch: _Batch,
        prompts: dict[str, list[list[Points]]],
        costs: dict[str, dict[str, Any]],
    ) -> Iterator[dict[str, Any]]:
        """Yield rows of the masks by a segmenter; encoding a picture is shared by all methods."""
        started = time.perf_counter()
        with PeakMemory(self.loaded.device) as memory:
            found = self.masks(segmenter, batch, prompts)
        spent = (time.perf_counter() - started) * 1000 / len(batch.numbers) / len(prompts)
        for method, masks in found.items():
            own = costs[method]
            cost = self._cost(own["milliseconds"] + spent, max(own["peak_bytes"], memory.bytes))
            for i, classes in enumerate(self.asked(batch)):
                truth, key = batch.masks[i], self.spec.data.keys[batch.numbers[i]]
                for c, mask in zip(classes, masks[i], strict=True):
                    inside = truth == (c + 1 if self.spec.data.by_class else 1)
                    scores = scoring.score_mask(mask, inside, truth == IGNORE)
                    named = {"key": key, "method": f"{method}{BY_SAM}", "class": c}
                    yield named | cost | _picture_row(scores)

    def _score(
        self,
        method: str,
        batch: _Batch,
        values: Float[Tensor, "image text grid_h grid_w"],
        cost: dict[str, Any],
    ) -> Iterator[dict[str, Any]]:
        """Yield rows of one method on one batch."""
        for i, classes in enumerate(self.asked(batch)):
            mask = batch.masks[i]
            size = (mask.shape[0], mask.shape[1])
            key = self.spec.data.keys[batch.numbers[i]]
            for j, c in enumerate(classes):
                row = {"key": key, "method": method, "class": c, **cost}
                if self.spec.data.by_class:
                    (one,) = next(_full_size(values[i, [c]], size))
                    row |= _picture_row(scoring.score_picture(one, mask == c + 1, mask == IGNORE))
                    if j == 0:
                        full = _full_size(values[i], size)
                        counts = scoring.semantic_counts(full, mask, self.spec.config.background)
                        row |= {
                            "cells": counts.cells.tolist(),
                            "cell_pixels": counts.pixels.tolist(),
                        }
                else:
                    (one,) = next(_full_size(values[i], size))
                    row |= _picture_row(scoring.score_picture(one, mask == 1, mask == IGNORE))
                yield row

    def _labels(self, batch: _Batch) -> Iterator[dict[str, Any]]:
        """Yield multi-label scores of whole pictures, where masks say which classes are there."""
        if not self.spec.data.by_class:
            return
        labels = self.labels.float()
        plain = batch.embedding @ labels.T
        by_surgery = surgery_scores(batch.embedding, labels)
        for i, number in enumerate(batch.numbers):
            annotated = batch.examples[i].present
            there = set(np.unique(batch.masks[i]).tolist()) if annotated is None else annotated
            yield {
                "key": self.spec.data.keys[number],
                "present": [c + 1 in there for c in range(len(labels))],
                "plain": plain[i].tolist(),
                "surgery": by_surgery[i].tolist(),
            }

    def pictures_of(self, batch: _Batch) -> list[Image.Image]:
        """Return what the model saw of each picture, as a picture."""
        record = self.loaded.record.preprocessing
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in (record.mean, record.std))
        seen = (batch.pixels.float().cpu() * std + mean).clamp(0, 1) * 255
        return [Image.fromarray(one.byte().permute(1, 2, 0).numpy()) for one in seen]


def reject_chunk(data: Labelled, task: Chunk, reason: str) -> Path:
    """Write a chunk none of whose pictures could be had, as a worker would."""
    rows = [{"key": data.keys[n], "reason": reason} for n in range(task.start, task.stop)]
    write_table(task.path, pa.Table.from_pylist(rows, schema=SCORES))
    return task.path


def _full_size(
    values: Float[Tensor, "text grid_h grid_w"], size: tuple[int, int]
) -> Iterator[Float[np.ndarray, "some height width"]]:
    """Yield maps at the mask's size, some at a time: never those of all classes at once."""
    step = max(1, CELLS // (size[0] * size[1]))
    for start in range(0, len(values), step):
        yield resize(values[None, start : start + step], size)[0].double().cpu().numpy()


def _picture_row(found: scoring.PictureScore) -> dict[str, Any]:
    return {
        "pixels": found.pixels,
        "correct": found.correct,
        "intersection": found.intersection.tolist(),
        "union": found.union.tolist(),
        "average_precision": found.average_precision,
        "contrast": found.contrast,
        "at_threshold": found.at_threshold.ravel().tolist(),
    }
