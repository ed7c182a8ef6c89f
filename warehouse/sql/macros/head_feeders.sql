WITH given(layer, head, scan, rows, text) AS (
    SELECT layer_of(layer, head), head_of(layer, head), scan, greatest(k, 0),
        edge_complaint(layer, head, k, scan)
),

ranked AS (
    SELECT e.*, row_number() OVER (
        ORDER BY e.share DESC NULLS LAST, e.src_layer NULLS FIRST, e.src_head NULLS FIRST,
            e.src_kind
    ) - 1 AS rank
    FROM head_edges AS e
    JOIN given AS g ON g.scan = e.scan_id AND g.layer = e.layer AND g.head = e.head
),

answer AS (
    SELECT r.rank,
        CASE r.src_kind
            WHEN 'head' THEN 'L' || r.src_layer || 'H' || r.src_head
            WHEN 'mlp' THEN 'MLP ' || r.src_layer
            WHEN 'bias' THEN 'bias ' || r.src_layer
            ELSE r.src_kind
        END AS name,
        r.src_kind AS component, r.share, r.scan_id
    FROM ranked AS r
    CROSS JOIN given AS g
    WHERE r.rank < g.rows
),

complaint AS (SELECT g.text FROM given AS g)
