SELECT stage, reason, count(*) AS pictures, any_value(key) AS example
FROM rejects WHERE scan_id = :scan
GROUP BY stage, reason
ORDER BY pictures DESC
LIMIT 12
