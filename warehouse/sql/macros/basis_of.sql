(
    SELECT
        CASE
            WHEN given.basis IS NULL
            THEN default_basis(given.scan)
            WHEN given.complaint IS NULL THEN given.basis
            ELSE error(given.complaint)
        END
    FROM (SELECT basis, scan, basis_complaint(basis, scan)) AS given(basis, scan, complaint)
)
