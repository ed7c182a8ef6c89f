INSERT INTO rejects BY NAME
SELECT $scan AS scan_id, key, uri, stage, reason
FROM read_parquet($paths, hive_partitioning = false)
