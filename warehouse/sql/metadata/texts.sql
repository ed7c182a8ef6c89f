-- What all values of a column of texts are: their spellings, over the first pictures or over all.
SELECT
    count(v.text) AS values,
    coalesce(bool_and(v.text IN ('true', 'false')), false) AS flags,
    coalesce(bool_and(regexp_full_match(v.text, '-?[0-9]{1,18}')), false) AS whole,
    coalesce(
        bool_and(regexp_full_match(v.text, '-?(0|[1-9][0-9]*)(\.[0-9]+)?')), false
    ) AS numbers
FROM (
    SELECT :value AS text
    FROM (
        SELECT metadata, json_extract_string(metadata, [:pointer]) AS said
        FROM read_parquet($paths, hive_partitioning = false)
        LIMIT $most
    )
) AS v
WHERE v.text IS NOT NULL
