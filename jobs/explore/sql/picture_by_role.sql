SELECT rank, key, image_id, score, label
FROM nearest_by_role(:key, :role, k := 10, scan := :scan, basis := :basis)
