SELECT name, layer, head, n, variance_share, effective_rank, mean_norm, variance,
    rank() OVER (ORDER BY variance_share DESC) AS place, count(*) OVER () AS heads
FROM heads WHERE scan_id = :scan
QUALIFY name = :head
