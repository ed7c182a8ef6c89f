INSERT INTO descriptions BY NAME
SELECT $pool AS pool, description_id, text, property, source
FROM read_parquet($path, hive_partitioning = false)
