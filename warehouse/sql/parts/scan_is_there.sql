WHEN given.scan IS NULL THEN 'no scan is published yet; run headatlas scan'
WHEN NOT EXISTS (SELECT 1 FROM scans AS s WHERE s.scan_id = given.scan)
THEN 'no scan ''' || given.scan || '''; SELECT scan_id FROM scans lists them'
    || near_name(given.scan, :scan_names)
