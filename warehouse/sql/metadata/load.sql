-- All names are looked up at once: a picture's metadata is parsed once.
INSERT INTO image_metadata
SELECT :scan AS scan_id, image_id :columns
FROM (
    SELECT image_id, metadata, json_extract_string(metadata, :pointers::VARCHAR[]) AS said
    FROM read_parquet($paths, hive_partitioning = false)
)
