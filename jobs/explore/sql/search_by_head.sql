SELECT rank, key, image_id, score, label
FROM nearest_by_text(:text, :head, k := 10, scan := :scan, basis := :basis)
