WITH given(layer, head, scan, rows, pairing, text) AS (
    SELECT layer_of(layer, head), head_of(layer, head), scan, greatest(k, 0),
        pairing_of(pairing, scan), pair_complaint(layer, head, k, pairing, scan)
),

ranked AS (
    SELECT p.*,
        row_number() OVER (
            ORDER BY p.share DESC NULLS LAST, p.text_kind, p.text_layer, p.text_head
        ) - 1 AS rank
    FROM head_pairs AS p
    JOIN given AS g
        ON g.scan = p.scan_id AND g.pairing = p.pairing AND g.layer = p.image_layer
            AND g.head = p.image_head
    WHERE p.image_kind = 'head'
),

answer AS (
    SELECT r.rank,
        CASE r.text_kind
            WHEN 'head' THEN 'L' || r.text_layer || 'H' || r.text_head
            WHEN 'mlp' THEN 'MLP ' || r.text_layer
            WHEN 'bias' THEN 'bias ' || r.text_layer
            ELSE r.text_kind
        END AS name,
        r.text_kind AS component, r.text_layer AS layer, r.text_head AS head, r.mean, r.share,
        r.pairing, r.scan_id
    FROM ranked AS r
    CROSS JOIN given AS g
    WHERE r.rank < g.rows
),

complaint AS (SELECT g.text FROM given AS g)
