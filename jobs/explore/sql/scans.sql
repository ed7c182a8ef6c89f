SELECT scan_id, dataset, model, pretrained, images, rejects, n_layers, n_heads, d_joint,
    zero_shot_accuracy, snapshot, snapshot_at, is_default
FROM scans
ORDER BY is_default DESC, created_at DESC
