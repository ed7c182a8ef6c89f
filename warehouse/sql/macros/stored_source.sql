CASE
    WHEN coalesce(centred, false) AND is_materialised(layer, head, scan) THEN 'by_layer.none'
    WHEN coalesce(list_contains(:layers::VARCHAR[], scan || '/L' || layer_of(layer, head)), false)
    THEN 'by_layer."' || scan || '/L' || layer_of(layer, head) || '"'
    ELSE 'by_layer.none'
END
