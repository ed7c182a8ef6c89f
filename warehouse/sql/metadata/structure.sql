-- The metadata's names and JSON types, over all pictures of each file, as a JSON object.
SELECT filename, json_group_structure(metadata::JSON)
FROM read_parquet($paths, hive_partitioning = false)
GROUP BY filename
