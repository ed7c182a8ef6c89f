(
    SELECT
        CASE
            WHEN given.complaint IS NULL
            THEN (
                SELECT list(DISTINCT 'L' || r.layer || 'H' || r.head)
                FROM head_roles AS r
                WHERE r.scan_id = given.scan AND r.role = given.role
                    AND (given.basis IS NULL OR r.basis = given.basis)
            )
            ELSE error(given.complaint)
        END
    FROM (
        SELECT asked_role, scan, asked_basis, role_complaint(asked_role, scan, asked_basis)
    ) AS given(role, scan, basis, complaint)
)
