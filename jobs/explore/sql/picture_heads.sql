-- what each head adds to the margin of the first class over the second
SELECT 'L' || a.layer || 'H' || a.head AS name, a.logit - b.logit AS margin
FROM head_logits AS a
JOIN head_logits AS b ON b.scan_id = a.scan_id AND b.classifier = a.classifier
    AND b.image_id = a.image_id AND b.layer = a.layer AND b.head = a.head AND b.class = :against
WHERE a.scan_id = :scan AND a.classifier = :classifier AND a.image_id = :image_id
    AND a.class = :class AND a.component = 'head'
ORDER BY abs(margin) DESC
LIMIT 14
