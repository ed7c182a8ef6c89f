-- SELECT * has more of each: stages, counts, versions, machine
SELECT command, scan_id, date_trunc('second', started_at) AS started_at, seconds, outcome, images,
    scanned, rejects, rate, message, run
FROM runs
ORDER BY runs.started_at DESC
LIMIT 100
