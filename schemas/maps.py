"""What maps leave in a warehouse: scores of segmentation, and every head's maps pooled.

`segmentation/RUN.parquet` belongs to the warehouse, since its model need not be a scan's.
`scans/SCAN/head_map_statistics/NAME.parquet` is a result of a scan's model, on any pictures.
"""

from typing import Final

import pyarrow as pa

from schemas.files import field

SEGMENTATION: Final = "segmentation"
HEAD_MAP_STATISTICS: Final = "head_map_statistics"


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


def head_map_statistics_schema() -> pa.Schema:
    """Return the schema of `head_map_statistics/NAME.parquet`: a row per head, text and label."""
    on = "NULL without masks"
    return pa.schema(
        [
            field("layer", pa.int16(), "Layer of the image encoder, from 0."),
            field("head", pa.int16(), "Head within the layer, from 0."),
            field("name", pa.string(), "Name of the head, as L22H11."),
            field("text", pa.string(), "The text looked for."),
            field(
                "label",
                pa.string(),
                "Pictures of this label alone, or whose mask has this class; NULL: all pictures.",
                null=True,
            ),
            field("pictures", pa.int64(), "Pictures counted."),
            field(
                "total",
                pa.float64(),
                "Sum of the head's map: what its image tokens add to the cosine with the text, "
                "beyond the mean of the texts compared with; mean over pictures.",
            ),
            field("total_sd", pa.float64(), "Standard deviation of that sum over pictures."),
            field(
                "magnitude",
                pa.float64(),
                "Sum of the map's absolute values, in units of cosine; mean over pictures.",
            ),
            field(
                "positive_share",
                pa.float64(),
                "Share of the absolute values that is positive, over all pictures together; NULL "
                "for maps of zeros.",
                null=True,
            ),
            field(
                "focus",
                pa.float64(),
                "1 - entropy / log(tokens) of the absolute values: 0 spread evenly, 1 on one "
                "token; mean over pictures.",
            ),
            field(
                "effective_tokens",
                pa.float64(),
                "Tokens in use: exp of that entropy; mean over pictures.",
            ),
            field("tokens", pa.int32(), "Image tokens of a picture."),
            field(
                "on_mask",
                pa.float64(),
                f"Share of the absolute values that lies on the mask; mean over pictures; {on}.",
                null=True,
            ),
            field(
                "positive_on_mask",
                pa.float64(),
                "Share of the positive values that lies on the mask, over all pictures together; "
                f"{on}, or where nothing is positive.",
                null=True,
            ),
            field(
                "mask_area",
                pa.float64(),
                f"Share of the picture that the mask covers, what on_mask is by chance; {on}.",
                null=True,
            ),
        ]
    )
