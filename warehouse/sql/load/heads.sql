INSERT INTO heads BY NAME
SELECT $scan AS scan_id, layer, head, name, n, mean, mean_norm, variance, variance_share,
    effective_rank, $snapshot AS snapshot, $stale AS stale
FROM read_parquet($path, hive_partitioning = false)
