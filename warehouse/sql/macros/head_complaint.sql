(
    SELECT
        CASE
            :part.scan_is_there
            WHEN given.head IS NOT NULL AND layer_of(given.layer, NULL) >= 0
            THEN '''' || given.layer || ''' is layer and head, so ' || given.head
                || ' cannot be the head; give what follows by name, as k := 5 or scan := ''NAME'''
            WHEN NOT EXISTS (
                SELECT 1 FROM heads AS h
                WHERE h.scan_id = given.scan AND h.layer = layer_of(given.layer, given.head)
                    AND h.head = head_of(given.layer, given.head)
            )
            THEN 'no head ' || coalesce(given.layer, 'NULL') || coalesce(', ' || given.head, '')
                || ' in scan ''' || given.scan
                || '''; write it as ''L22H11'' or 22, 11; SELECT name FROM heads lists them'
                || near_name(
                    coalesce('L' || given.layer || 'H' || given.head, given.layer),
                    (SELECT list(h.name) FROM heads AS h WHERE h.scan_id = given.scan)
                )
        END
    FROM (SELECT layer::VARCHAR, head::VARCHAR, scan) AS given(layer, head, scan)
)
