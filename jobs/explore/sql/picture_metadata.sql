SELECT * EXCLUDE (scan_id, image_id) FROM image_metadata
WHERE scan_id = :scan AND image_id = (
    SELECT image_id FROM image_index WHERE scan_id = :scan AND key = :key
)
