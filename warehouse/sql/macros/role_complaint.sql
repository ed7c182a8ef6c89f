(
    SELECT
        CASE
            WHEN given.scan IS NULL THEN 'no scan is published yet; run headatlas scan'
            WHEN NOT EXISTS (SELECT 1 FROM scans AS s WHERE s.scan_id = given.scan)
            THEN 'no scan ''' || given.scan || '''; SELECT scan_id FROM scans lists them'
            WHEN NOT EXISTS (
                SELECT 1 FROM head_roles AS r
                WHERE r.scan_id = given.scan AND r.role = given.role
                    AND (given.basis IS NULL OR r.basis = given.basis)
            )
            THEN 'no head with role ''' || coalesce(given.role, 'NULL') || ''' in scan '''
                || given.scan || '''' || coalesce(' and basis ''' || given.basis || '''', '')
                || '; there is '
                || coalesce(
                    (
                        SELECT string_agg(DISTINCT r.role, ', ' ORDER BY r.role)
                        FROM head_roles AS r
                        WHERE r.scan_id = given.scan
                            AND (given.basis IS NULL OR r.basis = given.basis)
                    ),
                    'none yet: headatlas roles build finds them'
                )
        END
    FROM (SELECT asked_role, scan, asked_basis) AS given(role, scan, basis)
)
