INSERT INTO head_roles BY NAME
SELECT $scan AS scan_id, $name AS basis, layer, head, role, score, p_value, q_value, p_labels,
    p_turned, method, stability, note, $snapshot AS snapshot, $stale AS stale
FROM read_parquet($path, hive_partitioning = false)
