(
    SELECT
        CASE
            WHEN given.scan IS NULL THEN 'no scan is published yet; run headatlas scan'
            WHEN NOT EXISTS (SELECT 1 FROM scans AS s WHERE s.scan_id = given.scan)
            THEN 'no scan ''' || given.scan || '''; SELECT scan_id FROM scans lists them'
            WHEN NOT EXISTS (
                SELECT 1 FROM results AS r
                WHERE r.scan_id = given.scan AND r.kind = 'textspan'
                    AND r.name = coalesce(given.basis, r.name)
            )
            THEN 'no TextSpan basis ' || coalesce('''' || given.basis || ''' ', '') || 'in scan '''
                || given.scan || '''; there is '
                || coalesce(
                    (
                        SELECT string_agg(r.name, ', ' ORDER BY r.name) FROM results AS r
                        WHERE r.scan_id = given.scan AND r.kind = 'textspan'
                    ),
                    'none yet: headatlas textspan makes one'
                )
        END
    FROM (SELECT basis, scan) AS given(basis, scan)
)
