SELECT command, started_at, seconds, scanned, rejects, outcome, error FROM runs
ORDER BY started_at DESC LIMIT 1
