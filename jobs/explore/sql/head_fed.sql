SELECT name, share FROM head_fed(:head, k := 10, scan := :scan)
