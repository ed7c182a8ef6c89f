-- One array of all heads' logits per picture and class: head_logits is a view over it.
INSERT INTO logit_parts BY NAME
SELECT $scan AS scan_id, $name AS classifier, image_id, class, logit, truth, heads, rest
FROM read_parquet($path, hive_partitioning = false)
