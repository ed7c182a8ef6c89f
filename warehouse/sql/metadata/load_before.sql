-- Rows of shards that the version before shows too, of the same columns.
INSERT INTO image_metadata
SELECT m.*
FROM before.image_metadata AS m
WHERE m.scan_id = $scan AND m.image_id IN (
    SELECT i.image_id FROM before.image_index AS i
    WHERE i.scan_id = $scan AND i.shard IN (SELECT unnest($shards))
)
