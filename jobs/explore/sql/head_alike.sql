SELECT name, cka FROM similar_heads(:head, k := 10, scan := :scan)
