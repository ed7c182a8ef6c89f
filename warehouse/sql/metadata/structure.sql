-- The metadata's names and JSON types, over all pictures of a scan, as one JSON object.
SELECT json_group_structure(i.metadata::JSON) FROM images AS i WHERE i.scan_id = $scan
