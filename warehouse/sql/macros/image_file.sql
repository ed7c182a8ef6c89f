coalesce(getvariable('headatlas_root'), :root)
|| '/scans/' || scan || '/shards/' || shard || '/images.parquet'
