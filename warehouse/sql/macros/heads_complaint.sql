CASE
    WHEN names IS NULL
    THEN 'no list of heads; expected names, as [''L22H11'', ''L23H6'']'
    ELSE (
        SELECT 'no head ' || coalesce('''' || any_value(n.name) || '''', 'NULL') || ' in scan '''
            || scan || '''; write heads as ''L22H11''; SELECT name FROM heads lists them'
        FROM (SELECT unnest(head_names(names)) AS name) AS n
        WHERE NOT EXISTS (SELECT 1 FROM heads AS h WHERE h.scan_id = scan AND h.name = n.name)
        HAVING count(*) > 0
    )
END
