CASE
    WHEN scan IS NULL THEN 'no scan is published yet; run headatlas scan'
    WHEN NOT EXISTS (SELECT 1 FROM scans AS s WHERE s.scan_id = scan)
    THEN 'no scan ''' || scan || '''; SELECT scan_id FROM scans lists them'
    WHEN NOT EXISTS (
        SELECT 1 FROM head_roles AS r
        WHERE r.scan_id = scan AND r.role = asked_role
            AND (asked_basis IS NULL OR r.basis = asked_basis)
    )
    THEN 'no head with role ''' || coalesce(asked_role, 'NULL') || ''' in scan ''' || scan || ''''
        || coalesce(' and basis ''' || asked_basis || '''', '') || '; there is '
        || coalesce(
            (
                SELECT string_agg(DISTINCT r.role, ', ' ORDER BY r.role)
                FROM head_roles AS r
                WHERE r.scan_id = scan AND (asked_basis IS NULL OR r.basis = asked_basis)
            ),
            'none yet: headatlas roles build finds them'
        )
END
