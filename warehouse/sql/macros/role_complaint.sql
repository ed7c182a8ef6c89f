(
    SELECT
        CASE
            :part.scan_is_there
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
                            || near_name(given.role, list(DISTINCT r.role))
                        FROM head_roles AS r
                        WHERE r.scan_id = given.scan
                            AND (given.basis IS NULL OR r.basis = given.basis)
                    ),
                    'none yet: headatlas roles build finds them'
                )
        END
    FROM (SELECT asked_role, scan, asked_basis) AS given(role, scan, basis)
)
