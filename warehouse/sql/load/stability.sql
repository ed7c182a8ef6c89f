INSERT INTO textspan_stability BY NAME
SELECT $scan AS scan_id, $name AS basis, layer, head, rank, description_id, survival,
    $snapshot AS snapshot, $stale AS stale
FROM read_parquet($path, hive_partitioning = false)
