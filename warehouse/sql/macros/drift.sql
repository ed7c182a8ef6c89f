WITH given(scan, rows, text) AS (
    SELECT scan, greatest(k, 0), search_complaint('cosine', k)
),

ranked AS (
    SELECT d.*, row_number() OVER (
        ORDER BY d.drift DESC NULLS LAST, d.mean_shift DESC NULLS LAST, d.layer, d.head
    ) - 1 AS rank
    FROM head_drift AS d
    JOIN given AS g ON g.scan = d.scan_id
),

answer AS (
    SELECT r.rank, r.name, r.layer, r.head, r.drift, r.mean_shift, r.variance_ratio, r.since,
        r.scan_id
    FROM ranked AS r
    CROSS JOIN given AS g
    WHERE r.rank < g.rows
),

complaint AS (
    SELECT CASE
        :part.scan_is_there
        WHEN given.text IS NOT NULL THEN given.text
        WHEN NOT EXISTS (SELECT 1 FROM head_drift AS d WHERE d.scan_id = given.scan)
        THEN 'no drift of scan ''' || given.scan || ''' is measured; run headatlas drift when it has '
            || 'two snapshots'
    END AS text
    FROM given
)
