-- One scan's part of the view. A filter on layer and head leaves one row of `position`, so that one
-- number of each array is read; the small side of the join is the heads.
SELECT p.scan_id, p.classifier, p.image_id, 'head' AS component, h.layer, h.head, p.class,
    p.heads[h.position] AS logit
FROM logit_parts AS p
CROSS JOIN (
    SELECT layer, head, row_number() OVER (ORDER BY layer, head) AS position
    FROM heads
    WHERE scan_id = :scan
) AS h
WHERE p.scan_id = :scan
UNION ALL
SELECT p.scan_id, p.classifier, p.image_id, 'rest' AS component, NULL::SMALLINT AS layer,
    NULL::SMALLINT AS head, p.class, p.rest AS logit
FROM logit_parts AS p
WHERE p.scan_id = :scan
