SELECT classifier, target, abs_direct, abs_total, repair, se_total, n FROM head_effects
WHERE scan_id = :scan AND layer = layer_of(:head, NULL) AND head = head_of(:head, NULL)
ORDER BY abs_total DESC
LIMIT 12
