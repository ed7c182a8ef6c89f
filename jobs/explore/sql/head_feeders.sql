SELECT name, component, share FROM head_feeders(:head, k := 10, scan := :scan)
