-- random sets of as many heads of the same layers, switched off as the macro ablate does it
WITH chosen AS (
    SELECT layer, count(*) AS n FROM heads
    WHERE scan_id = :scan AND list_contains(:heads, name) GROUP BY layer
),
drawn AS (
    SELECT s.seed, h.name, c.n,
        row_number() OVER (PARTITION BY s.seed, h.layer ORDER BY hash(h.name || s.seed)) AS place
    FROM heads AS h
    JOIN chosen AS c ON c.layer = h.layer
    CROSS JOIN range(:controls) AS s(seed)
    WHERE h.scan_id = :scan AND NOT list_contains(:heads, h.name)
),
-- of a layer with few heads, two draws may be one set
sets AS (
    SELECT DISTINCT names
    FROM (SELECT list(name ORDER BY name) AS names FROM drawn WHERE place <= n GROUP BY seed)
),
masks AS MATERIALIZED (
    SELECT s.names,
        list(
            CASE WHEN list_contains(s.names, h.name) THEN 1::FLOAT ELSE 0 END
            ORDER BY h.layer, h.head
        ) AS mask
    FROM sets AS s
    JOIN heads AS h ON h.scan_id = :scan
    GROUP BY s.names
),
classes AS MATERIALIZED (
    SELECT m.names, m.mask, c.class, list_inner_product(c.head_means, m.mask) AS mean
    FROM masks AS m
    JOIN classifiers AS c ON c.scan_id = :scan AND c.classifier = :classifier
),
predicted AS (
    SELECT c.names, p.image_id, max(p.class) FILTER (p.truth) AS truth,
        arg_max(p.class, p.logit - list_inner_product(p.heads, c.mask) + c.mean) AS after
    FROM logit_parts AS p
    JOIN classes AS c ON c.class = p.class
    WHERE p.scan_id = :scan AND p.classifier = :classifier
    GROUP BY c.names, p.image_id
),
-- a picture's group is read once, not for each set
keyed AS MATERIALIZED (
    SELECT i.image_id,
        CASE WHEN :by = 'label' THEN plain_value(i.label) ELSE metadata_value(i.metadata, :by) END
            AS value
    FROM images AS i
    WHERE i.scan_id = :scan
),
grouped AS (
    SELECT p.names, count(*) AS n, avg((p.after = p.truth)::INTEGER) AS after
    FROM predicted AS p
    JOIN keyed AS k ON k.image_id = p.image_id
    WHERE p.truth IS NOT NULL
    GROUP BY p.names, k.value
)
SELECT array_to_string(names, ', ') AS heads, sum(n * after) / sum(n) AS mean, min(after) AS worst
FROM grouped
GROUP BY names
ORDER BY heads
