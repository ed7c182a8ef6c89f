INSERT INTO image_index BY NAME
SELECT $scan AS scan_id, image_id, key, uri, label
FROM read_parquet($paths, hive_partitioning = false)
