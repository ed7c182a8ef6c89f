SELECT key, image_id FROM image_index WHERE scan_id = :scan ORDER BY image_id LIMIT 1
