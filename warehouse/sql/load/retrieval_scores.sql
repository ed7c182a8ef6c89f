INSERT INTO retrieval_scores BY NAME
SELECT $scan AS scan_id, attribute, component, layer, head, k, precision_at_k,
    mean_average_precision, chance, queries, $snapshot AS snapshot, $stale AS stale
FROM read_parquet($path, hive_partitioning = false)
