-- The files are read even of a materialised head: unit vectors have been rounded twice.
WITH given(scan) AS (SELECT scan),

directions AS (
    SELECT d.vector::DOUBLE[] AS vector, d.variance,
        list_inner_product(d.vector::DOUBLE[], h.mean::DOUBLE[]) AS shift
    FROM head_directions AS d
    JOIN heads AS h ON h.scan_id = d.scan_id AND h.layer = d.layer AND h.head = d.head
    WHERE d.scan_id = scan AND d.layer = layer_of(layer, head) AND d.head = head_of(layer, head)
),

squares AS (
    SELECT c.image_id,
        sum(
            (list_inner_product(c.vector::DOUBLE[], d.vector) - d.shift) ** 2 / d.variance
        ) AS square
    FROM query_table(stored_source(layer, head, scan, false)) AS c
    CROSS JOIN directions AS d
    WHERE c.head = head_of(layer, head)
    GROUP BY c.image_id
    ORDER BY square DESC, c.image_id
    LIMIT greatest(k, 0)
),

answer AS (
    SELECT row_number() OVER (ORDER BY s.square DESC, s.image_id) - 1 AS rank, i.key, s.image_id,
        sqrt(s.square) AS distance, i.label, i.uri, i.scan_id
    FROM squares AS s
    JOIN image_index AS i ON i.scan_id = scan AND i.image_id = s.image_id
),

complaint AS (
    SELECT coalesce(
        head_complaint(layer, head, scan),
        search_complaint('cosine', k),
        CASE
            WHEN NOT EXISTS (SELECT 1 FROM head_directions AS d WHERE d.scan_id = g.scan)
            THEN 'no principal directions of scan ''' || g.scan
                || ''' are stored; run headatlas scan on it again'
            WHEN NOT EXISTS (SELECT 1 FROM directions)
            THEN 'no covariance of head ' || layer::VARCHAR || coalesce(', ' || head::VARCHAR, '')
                || ' is kept: it does not vary, or stands behind a pool'
        END
    ) AS text
    FROM given AS g
)
