SELECT kind, name, snapshot, created_at FROM results WHERE scan_id = :scan AND stale ORDER BY ALL
