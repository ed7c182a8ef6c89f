SELECT DISTINCT attribute FROM head_attributes WHERE scan_id = :scan
ORDER BY attribute
