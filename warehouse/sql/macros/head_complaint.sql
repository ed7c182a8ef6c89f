CASE
    WHEN scan IS NULL THEN 'no scan is published yet; run headatlas scan'
    WHEN NOT EXISTS (SELECT 1 FROM scans AS s WHERE s.scan_id = scan)
    THEN 'no scan ''' || scan || '''; SELECT scan_id FROM scans lists them'
    WHEN head IS NOT NULL AND layer_of(layer, NULL) >= 0
    THEN '''' || layer::VARCHAR || ''' is layer and head, so ' || head::VARCHAR
        || ' cannot be the head; give what follows by name, as k := 5 or scan := ''NAME'''
    WHEN NOT EXISTS (
        SELECT 1 FROM heads AS h
        WHERE h.scan_id = scan AND h.layer = layer_of(layer, head) AND h.head = head_of(layer, head)
    )
    THEN 'no head ' || coalesce(layer::VARCHAR, 'NULL')
        || coalesce(', ' || head::VARCHAR, '') || ' in scan ''' || scan
        || '''; write it as ''L22H11'' or 22, 11; SELECT name FROM heads lists them'
END
