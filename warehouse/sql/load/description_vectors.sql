INSERT INTO description_vectors BY NAME
SELECT $scan AS scan_id, $pool AS pool, d.description_id, d.text, $templates AS templates,
    e.embedding
FROM descriptions AS d
JOIN read_parquet($path, hive_partitioning = false) AS e USING (description_id)
WHERE d.pool = $pool
