WITH given(property, rows, scan, pool, text) AS (
    SELECT property, greatest(k, 0), scan, pool, search_complaint('cosine', k)
),

asked AS (
    SELECT g.property, g.rows, g.scan, g.text,
        coalesce(g.pool, (
            SELECT r.name FROM results AS r
            WHERE r.scan_id = g.scan AND r.kind = 'concept_shares' AND r.is_default
        )) AS pool
    FROM given AS g
),

ranked AS (
    SELECT c.*, row_number() OVER (
        ORDER BY c.share - coalesce(c.others, 0) DESC, c.layer, c.head
    ) - 1 AS rank
    FROM concept_shares AS c
    JOIN asked AS a ON a.scan = c.scan_id AND a.pool = c.pool AND a.property = c.property
),

answer AS (
    SELECT r.rank, 'L' || r.layer || 'H' || r.head AS name, r.layer, r.head, r.share, r.others,
        r.ceiling, r.scan_id
    FROM ranked AS r
    CROSS JOIN asked AS a
    WHERE r.rank < a.rows
),

complaint AS (
    SELECT CASE
        WHEN a.scan IS NULL THEN 'no scan is published yet; run headatlas scan'
        WHEN NOT EXISTS (SELECT 1 FROM scans AS s WHERE s.scan_id = a.scan)
        THEN 'no scan ''' || a.scan || '''; SELECT scan_id FROM scans lists them'
        WHEN a.text IS NOT NULL THEN a.text
        WHEN NOT EXISTS (
            SELECT 1 FROM concept_shares AS c WHERE c.scan_id = a.scan AND c.pool = a.pool
        )
        THEN 'no shares of properties' || coalesce(' of pool ''' || a.pool || '''', '')
            || ' in scan ''' || a.scan || '''; run headatlas concepts --pool POOL'
        WHEN NOT EXISTS (
            SELECT 1 FROM concept_shares AS c
            WHERE c.scan_id = a.scan AND c.pool = a.pool AND c.property = a.property
        )
        THEN 'no property ''' || coalesce(a.property, 'NULL') || ''' in pool ''' || a.pool
            || '''; there is ' || (
                SELECT string_agg(DISTINCT c.property, ', ' ORDER BY c.property)
                FROM concept_shares AS c WHERE c.scan_id = a.scan AND c.pool = a.pool
            )
    END AS text
    FROM asked AS a
)
