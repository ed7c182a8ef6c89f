-- Rows of shards that the version before shows too.
INSERT INTO image_index BY NAME
SELECT scan_id, image_id, key, uri, label, shard
FROM before.image_index
WHERE scan_id = $scan AND shard IN (SELECT unnest($shards))
