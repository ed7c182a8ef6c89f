(
    SELECT
        CASE
            WHEN given.names IS NULL
            THEN 'no list of heads; expected names, as [''L22H11'', ''L23H6'']'
            ELSE (
                SELECT 'no head ' || coalesce('''' || any_value(n.name) || '''', 'NULL')
                    || ' in scan ''' || given.scan
                    || '''; write heads as ''L22H11''; SELECT name FROM heads lists them'
                    || near_name(
                        any_value(n.name),
                        (SELECT list(h.name) FROM heads AS h WHERE h.scan_id = given.scan)
                    )
                FROM (SELECT unnest(head_names(given.names)) AS name) AS n
                WHERE NOT EXISTS (
                    SELECT 1 FROM heads AS h WHERE h.scan_id = given.scan AND h.name = n.name
                )
                HAVING count(*) > 0
            )
        END
    FROM (SELECT names, scan) AS given(names, scan)
)
