SELECT row_number() OVER (ORDER BY score DESC, image_id) - 1 AS rank, key, image_id, score, label
FROM (
    SELECT key, image_id, label, list_inner_product(embedding, :vector::FLOAT[]) AS score
    FROM images WHERE scan_id = :scan
    ORDER BY score DESC, image_id
    LIMIT 8
)
ORDER BY rank
