INSERT INTO segmentation_scores BY NAME
SELECT run, scan_id, model, pretrained, device, data, protocol, asked, method, pixel_accuracy, miou,
    map, best_miou, best_threshold, msc, semantic_miou, background, milliseconds, peak_mb, maps,
    images, rejects, multilabel_plain, multilabel_surgery, $created_at AS created_at
FROM read_parquet($path, hive_partitioning = false)
