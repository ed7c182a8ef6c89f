-- As `plain` of warehouse/store/columns.py. A number with an exponent is written out first.
CASE
    WHEN regexp_full_match(value, '[ \t\n\r]*') THEN NULL
    WHEN value IN ('true', 'True', 'TRUE', 'false', 'False', 'FALSE') THEN lower(value)
    WHEN NOT regexp_full_match(value, '-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-][0-9]{1,3})?') THEN value
    WHEN regexp_matches(value, '[eE]') THEN plain_number(written_out(value))
    ELSE plain_number(value)
END
