INSERT INTO image_logits BY NAME
SELECT $scan AS scan_id, $name AS classifier, image_id, class, logit, truth
FROM read_parquet($path, hive_partitioning = false)
