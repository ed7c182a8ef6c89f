-- Rows of shards that the version before shows too, of the same columns.
INSERT INTO image_metadata
SELECT m.*
FROM before.image_metadata AS m
ANTI JOIN (
    SELECT image_id FROM before.image_index
    WHERE scan_id = $scan AND shard NOT IN (SELECT unnest($shards))
) AS gone USING (image_id)
WHERE m.scan_id = $scan
