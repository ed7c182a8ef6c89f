(
    SELECT
        CASE
            :part.scan_is_there
            WHEN given.head IS NOT NULL AND layer_of(given.layer, NULL) >= 0
            THEN '''' || given.layer || ''' is layer and head, so ' || given.head
                || ' cannot be the head; give what follows by name, as pool := ''NAME'''
            WHEN NOT EXISTS (
                SELECT 1 FROM text_heads AS h
                WHERE h.scan_id = given.scan AND h.pool = coalesce(given.pool, h.pool)
            )
            THEN 'no texts ' || coalesce('of pool ''' || given.pool || ''' ', '')
                || 'are decomposed in scan ''' || given.scan || '''; there is '
                || coalesce(
                    (
                        SELECT string_agg(DISTINCT h.pool, ', ' ORDER BY h.pool)
                            || near_name(given.pool, list(DISTINCT h.pool))
                        FROM text_heads AS h
                        WHERE h.scan_id = given.scan
                    ),
                    'none yet: headatlas texts decomposes a pool'
                )
            WHEN NOT EXISTS (
                SELECT 1 FROM text_heads AS h
                WHERE h.scan_id = given.scan AND h.layer = layer_of(given.layer, given.head)
                    AND h.head = head_of(given.layer, given.head)
                    AND h.pool = given.chosen
            )
            THEN 'no head ' || coalesce(given.layer, 'NULL') || coalesce(', ' || given.head, '')
                || ' of the text tower in scan ''' || given.scan
                || '''; write it as ''L5H0'' or 5, 0; SELECT name FROM text_heads lists them'
                || near_name(
                    coalesce('L' || given.layer || 'H' || given.head, given.layer),
                    (
                        SELECT list(h.name) FROM text_heads AS h
                        WHERE h.scan_id = given.scan AND h.pool = given.chosen
                    )
                )
        END
    FROM (SELECT layer::VARCHAR, head::VARCHAR, pool, scan, text_pool_of(pool, scan))
        AS given(layer, head, pool, scan, chosen)
)
