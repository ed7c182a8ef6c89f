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
        WHEN g.scan IS NULL THEN 'no scan is published yet; run headatlas scan'
        WHEN NOT EXISTS (SELECT 1 FROM scans AS s WHERE s.scan_id = g.scan)
        THEN 'no scan ''' || g.scan || '''; SELECT scan_id FROM scans lists them'
        WHEN g.text IS NOT NULL THEN g.text
        WHEN NOT EXISTS (SELECT 1 FROM head_drift AS d WHERE d.scan_id = g.scan)
        THEN 'no drift of scan ''' || g.scan || ''' is measured; run headatlas drift when it has '
            || 'two snapshots'
    END AS text
    FROM given AS g
)
