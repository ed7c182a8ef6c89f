CREATE MACRO image_file(scan, shard) AS
coalesce(getvariable('headatlas_root'), :root)
|| '/scans/' || scan || '/shards/' || shard || '/images.parquet'
