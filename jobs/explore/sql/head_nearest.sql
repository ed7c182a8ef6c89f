SELECT rank, key, image_id, score, label FROM nearest_by_head(:key, :head, k := 12, scan := :scan)
