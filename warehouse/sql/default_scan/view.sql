CREATE VIEW :view AS SELECT * FROM main.:table WHERE scan_id = :scan
