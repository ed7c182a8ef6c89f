SELECT rank, text, property, explained, cumulative, pca_cumulative
FROM head_texts(:head, scan := :scan, basis := :basis)
WHERE rank < 12
