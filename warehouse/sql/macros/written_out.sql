-- The digits, and where the point is among them.
list_transform(
    [{
        'sign': CASE WHEN number LIKE '-%' THEN '-' ELSE '' END,
        'digits': regexp_replace(
            regexp_extract(number, '^-?([0-9.]+)[eE]', 1), '\.', ''
        ),
        'point': length(regexp_extract(number, '^-?([0-9]+)', 1))
            + regexp_extract(number, '[eE]([+-][0-9]+)$', 1)::INTEGER
    }],
    lambda p: p.sign || CASE
        WHEN p.point <= 0 THEN '0.' || repeat('0', -p.point) || p.digits
        WHEN p.point >= length(p.digits)
        THEN p.digits || repeat('0', p.point - length(p.digits))
        ELSE substr(p.digits, 1, p.point) || '.' || substr(p.digits, p.point + 1)
    END
)[1]
