SELECT role, method, score, p_value, q_value, stability, note FROM head_roles
WHERE scan_id = :scan AND basis = :basis AND layer = layer_of(:head, NULL)
    AND head = head_of(:head, NULL)
ORDER BY method = 'manual' DESC, role IS NOT NULL DESC, method
