-- Embeddings are unit vectors: their cosine is an inner product.
WITH given(key, scan) AS (SELECT key, scan),

asked_picture AS (
    SELECT any_value(i.image_id) AS image_id FROM image_index AS i
    WHERE i.scan_id = scan AND i.key = key
),

asked AS (
    SELECT p.image_id AS asked_id, any_value(e.embedding) AS vector
    FROM images AS e
    JOIN asked_picture AS p ON p.image_id = e.image_id
    WHERE e.scan_id = scan
    GROUP BY p.image_id
),

found AS (
    SELECT e.image_id, list_inner_product(e.embedding, a.vector)::DOUBLE AS score
    FROM images AS e
    CROSS JOIN asked AS a
    WHERE e.scan_id = scan AND e.image_id <> a.asked_id
    ORDER BY score DESC, e.image_id
    LIMIT greatest(k, 0)
),

answer AS (
    SELECT row_number() OVER (ORDER BY f.score DESC, f.image_id) - 1 AS rank, i.key, f.image_id,
        f.score, i.label, i.uri, i.scan_id
    FROM found AS f
    JOIN image_index AS i ON i.scan_id = scan AND i.image_id = f.image_id
),

:part.near_key,

complaint AS (
    SELECT coalesce(
        CASE
            :part.scan_is_there
        END,
        :part.no_such_picture,
        search_complaint('cosine', k)
    ) AS text
    FROM given
)
