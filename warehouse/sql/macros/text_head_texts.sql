WITH given(layer, head, scan, pool, text) AS (
    SELECT layer_of(layer, head), head_of(layer, head), scan, text_pool_of(pool, scan),
        text_head_complaint(layer, head, pool, scan)
),

answer AS (
    SELECT t.rank, t.text, t.property, t.variance, t.explained, t.cumulative, t.pca_cumulative,
        t.description_id, t.pool, t.scan_id
    FROM text_textspan AS t
    JOIN given AS g
        ON g.scan = t.scan_id AND g.pool = t.pool AND g.layer = t.layer AND g.head = t.head
),

complaint AS (SELECT g.text FROM given AS g)
