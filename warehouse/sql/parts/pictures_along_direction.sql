asked AS (
    SELECT t.vector, sqrt(list_inner_product(t.vector, t.vector)) AS norm, m.mean,
        list_inner_product(t.vector, m.mean) AS shift
    FROM asked_direction AS t
    CROSS JOIN (
        SELECT
            CASE WHEN centred THEN h.mean ELSE list_transform(h.mean, lambda x: 0::FLOAT) END AS mean
        FROM heads AS h
        WHERE h.scan_id = scan AND h.layer = layer_of(layer, head)
            AND h.head = head_of(layer, head)
    ) AS m
    WHERE t.vector IS NOT NULL
),

stored AS (
    SELECT c.image_id,
        CASE
            WHEN metric = 'dot' THEN list_inner_product(c.vector, q.vector) - q.shift
            ELSE coalesce(
                (list_inner_product(c.vector, q.vector) - q.shift)
                / nullif(list_distance(c.vector, q.mean) * q.norm, 0),
                0
            )
        END AS score
    FROM query_table(stored_source(layer, head, scan, centred)) AS c
    CROSS JOIN asked AS q
    WHERE c.head = head_of(layer, head)
    ORDER BY score DESC, c.image_id
    LIMIT greatest(k, 0)
),

native AS (
    SELECT u.image_id,
        list_inner_product(u.vector, q.vector)
        * CASE WHEN metric = 'dot' THEN u.norm ELSE coalesce(1 / nullif(q.norm, 0), 0) END AS score
    FROM unit_vectors AS u
    CROSS JOIN asked AS q
    WHERE centred AND u.scan_id = scan AND u.layer = layer_of(layer, head)
        AND u.head = head_of(layer, head)
    ORDER BY score DESC, u.image_id
    LIMIT greatest(k, 0)
),

found AS (
    SELECT s.image_id, s.score::DOUBLE AS score FROM stored AS s
    UNION ALL
    SELECT n.image_id, n.score::DOUBLE AS score FROM native AS n
),

answer AS (
    SELECT row_number() OVER (ORDER BY f.score DESC, f.image_id) - 1 AS rank, i.key, f.image_id,
        f.score, i.label, i.uri, i.scan_id
    FROM found AS f
    JOIN image_index AS i ON i.scan_id = scan AND i.image_id = f.image_id
)
