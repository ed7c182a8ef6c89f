INSERT INTO pools BY NAME
SELECT $pool AS pool, count(*) AS descriptions, count(DISTINCT property) AS properties,
    $provenance AS provenance
FROM read_parquet($path, hive_partitioning = false)
