-- Quantiles that are scores of pictures, found without sorting all of them; ties by image_id.
WITH :part.asked_direction_of_text,

asked AS (
    SELECT t.vector, list_inner_product(t.vector, h.mean) AS shift
    FROM asked_direction AS t
    CROSS JOIN heads AS h
    WHERE t.vector IS NOT NULL AND h.scan_id = scan AND h.layer = layer_of(layer, head)
        AND h.head = head_of(layer, head)
),

scored AS MATERIALIZED (
    SELECT c.image_id, (list_inner_product(c.vector, q.vector) - q.shift)::DOUBLE AS score
    FROM query_table(stored_source(layer, head, scan, true)) AS c
    CROSS JOIN asked AS q
    WHERE c.head = head_of(layer, head)
    UNION ALL
    SELECT u.image_id, (list_inner_product(u.vector, q.vector) * u.norm)::DOUBLE AS score
    FROM unit_vectors AS u
    CROSS JOIN asked AS q
    WHERE u.scan_id = scan AND u.layer = layer_of(layer, head) AND u.head = head_of(layer, head)
),

middles AS (
    SELECT
        unnest(
            quantile_disc(s.score, [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95])
        ) AS score,
        unnest(range(10)) AS decile
    FROM scored AS s
),

answer AS (
    SELECT f.decile, i.key, f.image_id, f.score, i.label, i.uri, i.scan_id
    FROM (
        SELECT m.decile, m.score, min(s.image_id) AS image_id
        FROM middles AS m
        JOIN scored AS s ON s.score = m.score
        GROUP BY m.decile, m.score
    ) AS f
    JOIN image_index AS i ON i.scan_id = scan AND i.image_id = f.image_id
),

:part.near_text,

complaint AS (
    SELECT coalesce(
        head_complaint(layer, head, scan),
        a.complaint,
        :part.no_such_text
    ) AS text
    FROM asked_basis AS a
)
