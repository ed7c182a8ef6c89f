-- By JSON pointer, since any other name may be read as a path. JSON leaves out an exponent's plus.
CASE json_type(metadata, '/' || replace(replace(name, '~', '~0'), '/', '~1'))
    WHEN 'DOUBLE'
    THEN plain_value(
        regexp_replace(
            json_extract_string(metadata, '/' || replace(replace(name, '~', '~0'), '/', '~1')),
            'e([0-9])', 'e+\1'
        )
    )
    ELSE plain_value(
        json_extract_string(metadata, '/' || replace(replace(name, '~', '~0'), '/', '~1'))
    )
END
