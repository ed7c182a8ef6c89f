"""How well maps find what masks show: segmentation/RUN.parquet, of no scan."""

from typing import Final

import pyarrow as pa

from schemas.files import field
from schemas.kinds import Kind, Part
from schemas.names import SEGMENTATION
from schemas.relations import STALE, Column, Table, columns_of


def segmentation_scores_schema() -> pa.Schema:
    """Return the schema of `segmentation/RUN.parquet`: one row per method of a run."""
    return pa.schema(
        [
            field(
                "run", pa.string(), "The run: data, model, protocol and a digest of its options."
            ),
            field("scan_id", pa.string(), "Scan whose model it is; NULL: named.", null=True),
            field("model", pa.string(), "open_clip name of the model, or of its config file."),
            field("pretrained", pa.string(), "Tag, file name or `none`."),
            field("device", pa.string(), "What the maps were made on: a GPU, or cpu."),
            field("data", pa.string(), "Name of the data set with masks."),
            field("protocol", pa.string(), "aligned, or reference (masks squashed, as published)."),
            field("asked", pa.string(), "Class whose map is scored: predicted, or true."),
            field("method", pa.string(), "Method of the maps."),
            field("pixel_accuracy", pa.float64(), "Pixels right; foreground is above the mean."),
            field("miou", pa.float64(), "IoU of background and foreground, pixels pooled, meaned."),
            field("map", pa.float64(), "Average precision of a picture, mean over pictures."),
            field("best_miou", pa.float64(), "IoU of the foreground at the best threshold."),
            field("best_threshold", pa.float64(), "That threshold, of the min-maxed map."),
            field("msc", pa.float64(), "Mean foreground less mean background, min-maxed."),
            field(
                "semantic_miou",
                pa.float64(),
                "mIoU over classes of the argmax over their maps; NULL without class masks.",
                null=True,
            ),
            field(
                "background",
                pa.float64(),
                "Share of a map's range below which semantic_miou counts background as a class; "
                "NULL: background is ignored.",
                null=True,
            ),
            field("milliseconds", pa.float64(), "For a picture's maps; median over batches."),
            field("peak_mb", pa.float64(), "Most that a batch took beyond the model, 10^6 bytes."),
            field("maps", pa.int64(), "Maps scored."),
            field("images", pa.int64(), "Pictures scored."),
            field("rejects", pa.int64(), "Pictures left out."),
            field(
                "multilabel_plain",
                pa.float64(),
                "mAP over classes by plain cosines; NULL without class masks.",
                null=True,
            ),
            field(
                "multilabel_surgery",
                pa.float64(),
                "The same by CLIP Surgery's feature surgery.",
                null=True,
            ),
        ]
    )


KIND: Final = Kind(
    SEGMENTATION,
    segmentation_scores_schema(),
    (
        Table(
            "segmentation_scores",
            "table",
            "One row per method of a run of segment: its maps against masks, and what they cost.",
            (
                *columns_of(segmentation_scores_schema()),
                Column("created_at", "TIMESTAMP", "When the scores were made, UTC."),
                STALE,
            ),
            "SELECT method, miou, map, milliseconds, peak_mb FROM segmentation_scores "
            "WHERE protocol = 'aligned' ORDER BY miou + map DESC",
        ),
    ),
    command="segment",
    stands_on=(Part.CHECKPOINT, Part.DATA, Part.CLASSES, Part.OPTIONS),
    # where the model is a scan's
    may_stand_on=(Part.MODEL,),
    of="warehouse",
    # 2: pictures are decoded as the scan decodes
    format=2,
)
