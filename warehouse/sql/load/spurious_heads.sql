INSERT INTO spurious_heads BY NAME
SELECT $scan AS scan_id, $name AS name, classifier, target, attribute, layer, head, rank, score,
    about_attribute, about_target, chosen, step, $snapshot AS snapshot, $stale AS stale
FROM read_parquet($path, hive_partitioning = false)
