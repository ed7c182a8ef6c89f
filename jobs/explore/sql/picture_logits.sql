SELECT c.class_name, l.class, l.logit, l.truth
FROM image_logits AS l
JOIN classifiers AS c ON c.scan_id = l.scan_id AND c.classifier = l.classifier AND c.class = l.class
WHERE l.scan_id = :scan AND l.classifier = :classifier AND l.image_id = :image_id
ORDER BY l.logit DESC
LIMIT 8
