WITH given(layer, head, scan, rows, text) AS (
    SELECT layer_of(layer, head), head_of(layer, head), scan, greatest(k, 0),
        edge_complaint(layer, head, k, scan)
),

ranked AS (
    SELECT e.*, row_number() OVER (ORDER BY e.share DESC NULLS LAST, e.layer, e.head) - 1 AS rank
    FROM head_edges AS e
    JOIN given AS g ON g.scan = e.scan_id AND g.layer = e.src_layer AND g.head = e.src_head
    WHERE e.src_kind = 'head'
),

answer AS (
    SELECT r.rank, 'L' || r.layer || 'H' || r.head AS name, r.layer, r.head, r.share, r.scan_id
    FROM ranked AS r
    CROSS JOIN given AS g
    WHERE r.rank < g.rows
),

complaint AS (SELECT g.text FROM given AS g)
