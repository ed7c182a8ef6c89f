-- $path: moments merged over a snapshot's pictures; m2 is row-major, or the trace alone.
INSERT INTO head_covariances BY NAME
SELECT $scan AS scan_id, layer, head, d.direction::SMALLINT AS direction,
    list_transform(
        m2[d.direction * len(mean) + 1:(d.direction + 1) * len(mean)], lambda x: (x / n)::FLOAT
    ) AS covariance
FROM read_parquet($path, hive_partitioning = false)
CROSS JOIN LATERAL (SELECT unnest(range(len(mean))) AS direction) AS d
WHERE component = 'head' AND n > 0 AND len(m2) = len(mean) * len(mean)
