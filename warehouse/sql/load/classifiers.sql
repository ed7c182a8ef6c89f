INSERT INTO classifiers BY NAME
SELECT $scan AS scan_id, $name AS classifier, class, class_name, label, weight, head_means,
    $snapshot AS snapshot, $stale AS stale
FROM read_parquet($path, hive_partitioning = false)
