-- Of the two sources one has no rows of the head: unit_vectors, or the view of its layer's files.
-- query_table takes constants alone, which is why layer and head, unlike key, cannot be a subquery.
-- Centring is done on sums: with q the centred query, <v - mean, q> = <v, q> - <mean, q>, and
-- |v - mean| is a distance; so no centred vector is made.
-- The picture itself is among the first k + 1 or not; to filter it out before makes a join of it.
WITH given(key, scan) AS (SELECT key, scan),

asked_picture AS (
    SELECT
        any_value(i.image_id) AS image_id,
        contribution_file(scan, any_value(i.shard), layer_of(layer, head)) AS file
    FROM image_index AS i
    JOIN given AS g ON g.scan = i.scan_id AND g.key = i.key
),

asked_mean AS (
    SELECT CASE WHEN centred THEN h.mean ELSE list_transform(h.mean, lambda x: 0::FLOAT) END AS mean
    FROM heads AS h
    WHERE h.scan_id = scan AND h.layer = layer_of(layer, head) AND h.head = head_of(layer, head)
),

stored_query AS (
    SELECT m.mean,
        list_transform(list_zip(c.vector, m.mean), lambda pair: pair[1] - pair[2]) AS vector
    FROM query_table(stored_source(layer, head, scan, centred)) AS c
    JOIN asked_picture AS p ON p.image_id = c.image_id AND p.file = c.file
    CROSS JOIN asked_mean AS m
    WHERE c.head = head_of(layer, head)
),

stored_scale AS (
    SELECT q.mean, q.vector, list_inner_product(q.mean, q.vector) AS shift,
        sqrt(list_inner_product(q.vector, q.vector)) AS norm
    FROM stored_query AS q
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
    CROSS JOIN stored_scale AS q
    WHERE c.head = head_of(layer, head)
    ORDER BY score DESC, c.image_id
    LIMIT greatest(k, 0) + 1
),

native_query AS (
    SELECT u.vector, u.norm
    FROM unit_vectors AS u
    JOIN asked_picture AS p ON p.image_id = u.image_id
    WHERE centred AND u.scan_id = scan AND u.layer = layer_of(layer, head)
        AND u.head = head_of(layer, head)
),

native AS (
    SELECT u.image_id,
        list_inner_product(u.vector, q.vector)
        * CASE WHEN metric = 'dot' THEN u.norm * q.norm ELSE 1 END AS score
    FROM unit_vectors AS u
    CROSS JOIN native_query AS q
    WHERE centred AND u.scan_id = scan AND u.layer = layer_of(layer, head)
        AND u.head = head_of(layer, head)
    ORDER BY score DESC, u.image_id
    LIMIT greatest(k, 0) + 1
),

found AS (
    SELECT s.image_id, s.score::DOUBLE AS score FROM stored AS s
    UNION ALL
    SELECT n.image_id, n.score::DOUBLE AS score FROM native AS n
),

ranked AS (
    SELECT f.image_id, f.score, row_number() OVER (ORDER BY f.score DESC, f.image_id) - 1 AS rank
    FROM found AS f
    WHERE f.image_id <> (SELECT p.image_id FROM asked_picture AS p)
),

answer AS (
    SELECT r.rank, i.key, r.image_id, r.score, i.label, i.uri, i.scan_id
    FROM ranked AS r
    JOIN image_index AS i ON i.scan_id = scan AND i.image_id = r.image_id
    WHERE r.rank < k
),

:part.near_key,

complaint AS (
    SELECT coalesce(
        head_complaint(layer, head, scan),
        :part.no_such_picture,
        search_complaint(metric, k)
    ) AS text
    FROM given
)
