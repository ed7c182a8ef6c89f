(
    SELECT
        CASE
            :part.scan_is_there
            WHEN NOT EXISTS (
                SELECT 1 FROM results AS r
                WHERE r.scan_id = given.scan AND r.kind = 'textspan'
                    AND r.name = coalesce(given.basis, r.name)
            )
            THEN 'no TextSpan basis ' || coalesce('''' || given.basis || ''' ', '') || 'in scan '''
                || given.scan || '''; there is '
                || coalesce(
                    (
                        SELECT string_agg(r.name, ', ' ORDER BY r.name)
                            || near_name(given.basis, list(DISTINCT r.name))
                        FROM results AS r
                        WHERE r.scan_id = given.scan AND r.kind = 'textspan'
                    ),
                    'none yet: headatlas textspan makes one'
                )
        END
    FROM (SELECT basis, scan) AS given(basis, scan)
)
