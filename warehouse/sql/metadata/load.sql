INSERT INTO image_metadata
SELECT i.scan_id, i.image_id :columns FROM images AS i WHERE i.scan_id = :scan
