INSERT INTO head_attributes BY NAME
SELECT $scan AS scan_id, layer, head, attribute, r2, p_value, groups, images,
    $snapshot AS snapshot, $stale AS stale
FROM read_parquet($path, hive_partitioning = false)
