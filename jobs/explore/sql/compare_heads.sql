SELECT h.name, h.variance_share, h.effective_rank, o.variance_share AS variance_share_b,
    o.effective_rank AS effective_rank_b
FROM heads AS h
JOIN heads AS o ON o.scan_id = :b AND o.layer = h.layer AND o.head = h.head
WHERE h.scan_id = :a
ORDER BY abs(h.variance_share - o.variance_share) DESC
LIMIT 30
