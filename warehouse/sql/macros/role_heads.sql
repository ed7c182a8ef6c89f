-- Parameters are not called as the table's columns are: a scalar macro cannot tell them apart.
CASE
    WHEN role_complaint(asked_role, scan, asked_basis) IS NULL
    THEN (
        SELECT list(DISTINCT 'L' || r.layer || 'H' || r.head)
        FROM head_roles AS r
        WHERE r.scan_id = scan AND r.role = asked_role
            AND (asked_basis IS NULL OR r.basis = asked_basis)
    )
    ELSE error(role_complaint(asked_role, scan, asked_basis))
END
