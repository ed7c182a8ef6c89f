SELECT key, uri, fingerprint FROM images WHERE scan_id = :scan AND image_id = :image_id
