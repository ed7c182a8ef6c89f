-- logit - sum of the heads' logits + sum of their means; both sums are inner products with a mask.
-- Arguments are evaluated once, where no column of the macro's own tables can be taken for them.
WITH given(classifier, heads, scan, text) AS (
    SELECT classifier, head_names(heads), scan,
        coalesce(classifier_complaint(classifier, scan), heads_complaint(heads, scan))
),

asked AS MATERIALIZED (
    SELECT
        list(
            CASE WHEN list_contains(g.heads, h.name) THEN 1::FLOAT ELSE 0 END
            ORDER BY h.layer, h.head
        ) AS mask
    FROM heads AS h
    JOIN given AS g ON g.scan = h.scan_id
),

classes AS MATERIALIZED (
    SELECT c.scan_id, c.classifier, c.class, c.class_name,
        list_inner_product(c.head_means, a.mask) AS mean
    FROM classifiers AS c
    JOIN given AS g ON g.scan = c.scan_id AND g.classifier = c.classifier
    CROSS JOIN asked AS a
),

ablated AS (
    SELECT p.image_id, p.class, p.logit, p.truth,
        p.logit - list_inner_product(p.heads, a.mask) + c.mean AS left_logit
    FROM logit_parts AS p
    JOIN classes AS c
        ON c.scan_id = p.scan_id AND c.classifier = p.classifier AND c.class = p.class
    CROSS JOIN asked AS a
),

predicted AS (
    SELECT p.image_id, arg_max(p.class, p.logit) AS before, arg_max(p.class, p.left_logit) AS after,
        max(p.logit) AS logit_before, max(p.left_logit) AS logit_after,
        max(p.class) FILTER (p.truth) AS truth
    FROM ablated AS p
    GROUP BY p.image_id
),

answer AS (
    SELECT p.image_id, i.key, i.label, t.class_name AS truth, b.class_name AS before,
        a.class_name AS after, p.before = p.truth AS correct_before,
        p.after = p.truth AS correct_after, p.logit_before, p.logit_after, i.scan_id
    FROM predicted AS p
    JOIN classes AS b ON b.class = p.before
    JOIN image_index AS i ON i.scan_id = b.scan_id AND i.image_id = p.image_id
    JOIN classes AS a ON a.class = p.after
    LEFT JOIN classes AS t ON t.class = p.truth
),

complaint AS (SELECT g.text FROM given AS g)
