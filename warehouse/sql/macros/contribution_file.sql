-- The views and the look-up of one picture name a file in the same words, so that an equality on it
-- leaves one file to open.
coalesce(getvariable('headatlas_root'), :root)
|| '/scans/' || scan || '/shards/' || shard || '/layer=' || layer || '/contributions.parquet'
