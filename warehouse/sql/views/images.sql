-- One scan's part of the view; publish joins the parts. Columns are named with their table: inside a
-- macro that has a parameter of the same name they would be ambiguous.
SELECT
    :scan AS scan_id, p.image_id, p.key, p.uri, p.width, p.height, p.label, p.metadata, p.sigma,
    p.norm, p.embedding, p.fingerprint
FROM read_parquet(
    list_transform(:shards, lambda s: image_file(:scan, s)), hive_partitioning = false
) AS p
