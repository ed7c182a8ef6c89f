SELECT image_id, key, uri, label FROM image_index WHERE scan_id = :scan AND key = :key
