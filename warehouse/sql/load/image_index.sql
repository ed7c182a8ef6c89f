-- The shard is the name of the file's folder.
INSERT INTO image_index BY NAME
SELECT $scan AS scan_id, image_id, key, uri, label, split_part(filename, '/', -2) AS shard
FROM read_parquet($paths, hive_partitioning = false)
