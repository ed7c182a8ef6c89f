CASE
    WHEN basis IS NULL
    THEN (
        SELECT any_value(r.name) FROM results AS r
        WHERE r.scan_id = scan AND r.kind = 'textspan' AND r.is_default
    )
    WHEN basis_complaint(basis, scan) IS NULL THEN basis
    ELSE error(basis_complaint(basis, scan))
END
