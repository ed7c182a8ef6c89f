-- Top k before the join with image_index. Of the two branches one is dropped when the query is
-- planned: the head's native unit vectors, or its Parquet files.
-- Centring is done on sums: with q the centred query, <v - mean, q> = <v, q> - <mean, q>, and
-- |v - mean| is a distance; so no centred vector is made.
CREATE MACRO nearest_by_head(
    key, layer, head := NULL, k := 10, scan := :default_scan, metric := 'cosine', centred := true
) AS TABLE
WITH asked_picture AS (
    SELECT any_value(i.image_id) AS image_id FROM image_index AS i
    WHERE i.scan_id = scan AND i.key = key
),

asked_mean AS (
    SELECT CASE WHEN centred THEN h.mean ELSE list_transform(h.mean, lambda x: 0::FLOAT) END AS mean
    FROM heads AS h
    WHERE h.scan_id = scan AND h.layer = layer_of(layer, head) AND h.head = head_of(layer, head)
),

stored_query AS (
    SELECT c.image_id, m.mean,
        list_transform(list_zip(c.vector, m.mean), lambda pair: pair[1] - pair[2]) AS vector
    FROM contributions AS c
    JOIN asked_picture AS p ON p.image_id = c.image_id
    CROSS JOIN asked_mean AS m
    WHERE c.scan_id = scan AND c.layer = layer_of(layer, head) AND c.head = head_of(layer, head)
        AND NOT (centred AND is_materialised(layer, head, scan))
),

stored_scale AS (
    SELECT q.*, list_inner_product(q.mean, q.vector) AS shift,
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
    FROM contributions AS c
    CROSS JOIN stored_scale AS q
    WHERE c.scan_id = scan AND c.layer = layer_of(layer, head) AND c.head = head_of(layer, head)
        AND NOT (centred AND is_materialised(layer, head, scan))
        AND c.image_id <> q.image_id
    ORDER BY score DESC, c.image_id
    LIMIT k
),

native_query AS (
    SELECT u.image_id, u.vector, u.norm
    FROM unit_vectors AS u
    JOIN asked_picture AS p ON p.image_id = u.image_id
    WHERE u.scan_id = scan AND u.layer = layer_of(layer, head) AND u.head = head_of(layer, head)
        AND centred AND is_materialised(layer, head, scan)
),

native AS (
    SELECT u.image_id,
        list_inner_product(u.vector, q.vector)
        * CASE WHEN metric = 'dot' THEN u.norm * q.norm ELSE 1 END AS score
    FROM unit_vectors AS u
    CROSS JOIN native_query AS q
    WHERE u.scan_id = scan AND u.layer = layer_of(layer, head) AND u.head = head_of(layer, head)
        AND centred AND is_materialised(layer, head, scan)
        AND u.image_id <> q.image_id
    ORDER BY score DESC, u.image_id
    LIMIT k
),

found AS (
    SELECT s.image_id, s.score::DOUBLE AS score FROM stored AS s
    UNION ALL
    SELECT n.image_id, n.score::DOUBLE AS score FROM native AS n
)

SELECT row_number() OVER (ORDER BY f.score DESC, f.image_id) - 1 AS rank, i.key, f.image_id,
    f.score, i.label, i.uri, i.scan_id
FROM found AS f
JOIN image_index AS i ON i.scan_id = scan AND i.image_id = f.image_id
UNION ALL
-- A filter, not a column, raises the error: columns that are not asked for are never computed.
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM (
    SELECT coalesce(
        head_complaint(layer, head, scan),
        CASE
            WHEN (SELECT p.image_id FROM asked_picture AS p) IS NULL
            THEN 'no picture ''' || coalesce(key, 'NULL') || ''' in scan ''' || scan
                || '''; SELECT key FROM images lists them'
            WHEN metric NOT IN ('cosine', 'dot')
            THEN 'no metric ''' || metric || '''; there is cosine and dot'
        END
    ) AS text
) AS complaint
WHERE CASE WHEN complaint.text IS NULL THEN false ELSE error(complaint.text) IS NOT NULL END
ORDER BY rank
