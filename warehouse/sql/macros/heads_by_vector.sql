WITH given(direction, k, scan) AS (SELECT vector::FLOAT[], k, scan),

turned AS (
    SELECT f.layer, f.head, f.direction, list_inner_product(f.vector, g.direction) AS along
    FROM head_frames AS f
    JOIN given AS g ON len(f.vector) = len(g.direction)
    WHERE f.scan_id = scan
),

directions AS (
    SELECT t.layer, t.head, list(t.along ORDER BY t.direction) AS direction
    FROM turned AS t
    GROUP BY t.layer, t.head
),

along AS (
    SELECT c.layer, c.head,
        sum(
            d.direction[c.direction + 1]::DOUBLE
            * list_inner_product(c.covariance, d.direction)::DOUBLE
        ) AS variance,
        sum(c.covariance[c.direction + 1]::DOUBLE) AS total,
        any_value(list_inner_product(d.direction, d.direction))::DOUBLE AS length
    FROM head_covariances AS c
    JOIN directions AS d ON d.layer = c.layer AND d.head = c.head
    WHERE c.scan_id = scan
    GROUP BY c.layer, c.head
),

ranked AS (
    SELECT row_number() OVER (ORDER BY a.variance DESC, h.layer, h.head) - 1 AS rank, h.layer,
        h.head, h.name, a.variance,
        coalesce(a.variance / nullif(a.length * a.total, 0), 0) AS explained, h.scan_id
    FROM along AS a
    JOIN heads AS h ON h.scan_id = scan AND h.layer = a.layer AND h.head = a.head
),

answer AS (
    SELECT r.rank, r.layer, r.head, r.name, r.variance, r.explained, r.scan_id
    FROM ranked AS r
    JOIN given AS g ON r.rank < g.k
),

complaint AS (
    SELECT coalesce(
        CASE
            :part.scan_is_there
            WHEN given.direction IS NULL THEN 'no vector; give a direction of the joint space'
            WHEN NOT EXISTS (SELECT 1 FROM head_frames AS f WHERE f.scan_id = scan)
            THEN 'scan ''' || scan || ''' has no head frames yet: run its scan again'
            WHEN NOT EXISTS (
                SELECT 1 FROM scans AS s WHERE s.scan_id = scan AND s.d_joint = len(given.direction)
            )
            THEN 'the vector has ' || len(given.direction) || ' numbers; expected '
                || (SELECT s.d_joint FROM scans AS s WHERE s.scan_id = scan) || ', as an embedding'
        END,
        search_complaint('dot', given.k)
    ) AS text
    FROM given
)
