-- As nearest_by_head, with the coordinates of all heads of the role laid end to end: dot products
-- and squares are added up over heads, so each head costs one reading, and one picture one row.
-- A head is read from unit_vectors where it is there; its branch of the role's view then is none.
WITH given(key, scan) AS (SELECT key, scan),

asked_picture AS (
    SELECT any_value(i.image_id) AS image_id, any_value(i.shard) AS shard
    FROM image_index AS i
    JOIN given AS g ON g.scan = i.scan_id AND g.key = i.key
),

asked_heads AS (
    SELECT h.layer, h.head, p.image_id, contribution_file(scan, p.shard, h.layer) AS file,
        CASE WHEN centred THEN h.mean ELSE list_transform(h.mean, lambda x: 0::FLOAT) END AS mean
    FROM heads AS h
    CROSS JOIN asked_picture AS p
    WHERE h.scan_id = scan AND list_contains(role_heads(role, scan, basis), h.name)
),

stored_query AS (
    SELECT a.layer, a.head, a.mean,
        list_transform(list_zip(c.vector, a.mean), lambda pair: pair[1] - pair[2]) AS vector
    FROM query_table(role_source(role, scan)) AS c
    JOIN asked_heads AS a
        ON a.layer = c.layer AND a.head = c.head AND a.image_id = c.image_id AND a.file = c.file
    WHERE (basis IS NULL OR list_contains(c.bases, basis))
        AND NOT (coalesce(centred, false) AND is_materialised(c.layer, c.head, scan))
),

stored_scale AS (
    SELECT q.layer, q.head, q.mean, q.vector, list_inner_product(q.mean, q.vector) AS shift
    FROM stored_query AS q
),

native_query AS (
    SELECT u.layer, u.head, u.vector, u.norm
    FROM unit_vectors AS u
    JOIN asked_heads AS a
        ON a.layer = u.layer AND a.head = u.head AND a.image_id = u.image_id
    WHERE centred AND u.scan_id = scan
),

length AS (
    SELECT sqrt(sum(q.square)) AS norm
    FROM (
        SELECT list_inner_product(s.vector, s.vector) AS square FROM stored_scale AS s
        UNION ALL
        SELECT n.norm * n.norm AS square FROM native_query AS n
    ) AS q
),

parts AS (
    SELECT c.image_id, list_inner_product(c.vector, q.vector) - q.shift AS dot,
        CASE WHEN metric = 'dot' THEN 0 ELSE pow(list_distance(c.vector, q.mean), 2) END AS square
    FROM query_table(role_source(role, scan)) AS c
    JOIN stored_scale AS q ON q.layer = c.layer AND q.head = c.head
    WHERE (basis IS NULL OR list_contains(c.bases, basis))
        AND NOT (coalesce(centred, false) AND is_materialised(c.layer, c.head, scan))
    UNION ALL
    SELECT u.image_id, list_inner_product(u.vector, q.vector) * u.norm * q.norm AS dot,
        u.norm * u.norm AS square
    FROM unit_vectors AS u
    JOIN native_query AS q ON q.layer = u.layer AND q.head = u.head
    WHERE centred AND u.scan_id = scan
),

sums AS (
    SELECT p.image_id, sum(p.dot) AS dot, sum(p.square) AS square
    FROM parts AS p
    GROUP BY p.image_id
),

found AS (
    SELECT s.image_id,
        CASE
            WHEN metric = 'dot' THEN s.dot
            ELSE coalesce(s.dot / nullif(sqrt(s.square) * l.norm, 0), 0)
        END AS score
    FROM sums AS s
    CROSS JOIN length AS l
    ORDER BY score DESC, s.image_id
    LIMIT greatest(k, 0) + 1
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
        role_complaint(role, scan, basis),
        :part.no_such_picture,
        search_complaint(metric, k)
    ) AS text
    FROM given
)
