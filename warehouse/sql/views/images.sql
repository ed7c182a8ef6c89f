-- One scan's part of the view; publish joins the parts.
SELECT
    :scan AS scan_id, image_id, key, uri, width, height, label, metadata, sigma, norm, embedding,
    fingerprint
FROM read_parquet(
    list_transform(:shards, lambda s: image_file(:scan, s)), hive_partitioning = false
)
