SELECT rank, key, image_id, score, label FROM nearest_by_embedding(:key, k := 10, scan := :scan)
