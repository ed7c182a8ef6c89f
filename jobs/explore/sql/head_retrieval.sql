SELECT s.attribute, s.precision_at_k AS head, w.precision_at_k AS embedding, s.chance, s.k
FROM retrieval_scores AS s
JOIN retrieval_scores AS w ON w.scan_id = s.scan_id AND w.attribute = s.attribute
    AND w.component = 'embedding'
WHERE s.scan_id = :scan AND s.component = 'head' AND s.layer = layer_of(:head, NULL)
    AND s.head = head_of(:head, NULL)
ORDER BY s.precision_at_k - w.precision_at_k DESC
