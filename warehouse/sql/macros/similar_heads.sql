WITH given(layer, head, scan, rows, text) AS (
    SELECT layer_of(layer, head), head_of(layer, head), scan, greatest(k, 0),
        coalesce(head_complaint(layer, head, scan), search_complaint('cosine', k))
),

ranked AS (
    SELECT s.*, row_number() OVER (
        ORDER BY s.cka DESC NULLS LAST, s.other_layer, s.other_head
    ) - 1 AS rank
    FROM head_similarity AS s
    JOIN given AS g ON g.scan = s.scan_id AND g.layer = s.layer AND g.head = s.head
),

answer AS (
    SELECT r.rank, 'L' || r.other_layer || 'H' || r.other_head AS name, r.other_layer AS layer,
        r.other_head AS head, r.cka, r.scan_id
    FROM ranked AS r
    CROSS JOIN given AS g
    WHERE r.rank < g.rows
),

complaint AS (
    SELECT coalesce(
        g.text,
        CASE
            WHEN NOT EXISTS (SELECT 1 FROM head_similarity AS s WHERE s.scan_id = g.scan)
            THEN 'no likeness of heads in scan ''' || g.scan || '''; run headatlas similarity'
        END
    ) AS text
    FROM given AS g
)
