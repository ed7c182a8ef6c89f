-- The metadata's names and JSON types, over all pictures of a scan, as one JSON object.
SELECT json_group_structure(metadata::JSON)
FROM read_parquet($paths, hive_partitioning = false)
