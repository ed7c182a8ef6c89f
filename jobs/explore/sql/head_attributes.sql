SELECT attribute, r2, p_value, groups, images FROM head_attributes
WHERE scan_id = :scan AND layer = layer_of(:head, NULL) AND head = head_of(:head, NULL)
ORDER BY r2 DESC, attribute
