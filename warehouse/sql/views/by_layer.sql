-- One layer of one scan: the files of one snapshot, as in contributions.
SELECT image_id, head, vector, filename AS file
FROM read_parquet(
    list_transform(:shards, lambda s: contribution_file(:scan, s, :layer)),
    hive_partitioning = false
)
