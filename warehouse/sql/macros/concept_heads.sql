WITH given(property, rows, scan, pool, text) AS (
    SELECT property, greatest(k, 0), scan,
        coalesce(pool, (
            SELECT r.name FROM results AS r
            WHERE r.scan_id = scan AND r.kind = 'concept_shares' AND r.is_default
        )),
        search_complaint('cosine', k)
),

ranked AS (
    SELECT c.*, row_number() OVER (
        ORDER BY c.share - coalesce(c.others, 0) DESC, c.layer, c.head
    ) - 1 AS rank
    FROM concept_shares AS c
    JOIN given AS g ON g.scan = c.scan_id AND g.pool = c.pool AND g.property = c.property
),

answer AS (
    SELECT r.rank, 'L' || r.layer || 'H' || r.head AS name, r.layer, r.head, r.share, r.others,
        r.ceiling, r.scan_id
    FROM ranked AS r
    CROSS JOIN given AS g
    WHERE r.rank < g.rows
),

complaint AS (
    SELECT CASE
        :part.scan_is_there
        WHEN given.text IS NOT NULL THEN given.text
        WHEN NOT EXISTS (
            SELECT 1 FROM concept_shares AS c WHERE c.scan_id = given.scan AND c.pool = given.pool
        )
        THEN 'no shares of properties' || coalesce(' of pool ''' || given.pool || '''', '')
            || ' in scan ''' || given.scan || '''; run headatlas concepts --pool POOL'
        WHEN NOT EXISTS (
            SELECT 1 FROM concept_shares AS c
            WHERE c.scan_id = given.scan AND c.pool = given.pool AND c.property = given.property
        )
        THEN 'no property ''' || coalesce(given.property, 'NULL') || ''' in pool ''' || given.pool
            || '''; there is ' || (
                SELECT string_agg(DISTINCT c.property, ', ' ORDER BY c.property)
                    || near_name(given.property, list(DISTINCT c.property))
                FROM concept_shares AS c WHERE c.scan_id = given.scan AND c.pool = given.pool
            )
    END AS text
    FROM given
)
