-- One scan's part of the view; publish joins the parts. The file is named by what it holds.
SELECT :scan AS scan_id, p.layer, p.head, p.direction, p.vector
FROM read_parquet(frame_file(:scan, :frames), hive_partitioning = false) AS p
