(
    SELECT
        CASE
            WHEN given.basis IS NULL
            THEN (
                SELECT any_value(r.name) FROM results AS r
                WHERE r.scan_id = given.scan AND r.kind = 'textspan' AND r.is_default
            )
            WHEN given.complaint IS NULL THEN given.basis
            ELSE error(given.complaint)
        END
    FROM (SELECT basis, scan, basis_complaint(basis, scan)) AS given(basis, scan, complaint)
)
