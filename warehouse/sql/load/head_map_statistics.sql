INSERT INTO head_map_statistics BY NAME
SELECT $scan AS scan_id, $name AS run, $provenance::JSON ->> '$.data' AS data, layer, head, name,
    text, label, pictures, total, total_sd, magnitude, positive_share, focus, effective_tokens,
    tokens, on_mask, positive_on_mask, mask_area
FROM read_parquet($path, hive_partitioning = false)
