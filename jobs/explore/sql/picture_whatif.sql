-- of each class, the cosine before and after these heads are replaced by their means
WITH asked AS (
    SELECT
        list(
            CASE WHEN list_contains(:heads::VARCHAR[], name) THEN 1::FLOAT ELSE 0 END
            ORDER BY layer, head
        ) AS mask
    FROM heads WHERE scan_id = :scan
)
SELECT c.class_name, p.logit AS before,
    p.logit - list_inner_product(p.heads, a.mask) + list_inner_product(c.head_means, a.mask)
        AS after,
    p.truth
FROM logit_parts AS p
JOIN classifiers AS c
    ON c.scan_id = p.scan_id AND c.classifier = p.classifier AND c.class = p.class
CROSS JOIN asked AS a
WHERE p.scan_id = :scan AND p.classifier = :classifier AND p.image_id = :image_id
ORDER BY before DESC
