SELECT * FROM head_matches WHERE scan_a = :a AND scan_b = :b ORDER BY cka DESC LIMIT 60
