SELECT rank, key, image_id, score, label
FROM nearest_by_vector(:vector::FLOAT[], :head, k := 8, scan := :scan)
