(
    SELECT any_value(r.name) FROM results AS r
    WHERE r.scan_id = scan AND r.kind = 'textspan' AND r.is_default
)
