INSERT INTO textspan BY NAME
SELECT $scan AS scan_id, $name AS basis, $provenance::JSON->>'pool' AS pool, layer, head, rank,
    description_id, text, property, variance, explained, cumulative, pca_cumulative, vector,
    $snapshot AS snapshot, $stale AS stale
FROM read_parquet($path, hive_partitioning = false)
