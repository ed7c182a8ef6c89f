SELECT command, scan_id AS scan, date_trunc('second', started_at) AS started_at, seconds, scanned,
    rejects, outcome, message
FROM runs
ORDER BY runs.started_at DESC
LIMIT 1
