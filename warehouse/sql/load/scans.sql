-- One scan; $record is its scan.json.
INSERT INTO scans BY NAME
SELECT
    r->>'scan_id' AS scan_id,
    r->>'dataset' AS dataset,
    r->>'source' AS source,
    r->>'$.model.model' AS model,
    r->>'$.model.pretrained' AS pretrained,
    r->>'$.model.weights_sha256' AS weights_sha256,
    (r->>'$.model.n_layers')::INTEGER AS n_layers,
    (r->>'$.model.n_heads')::INTEGER AS n_heads,
    (r->>'$.model.d_model')::INTEGER AS d_model,
    (r->>'$.model.d_head')::INTEGER AS d_head,
    (r->>'$.model.d_joint')::INTEGER AS d_joint,
    r->>'$.model.pool' AS read_out,
    (r->>'$.model.pool_layer')::INTEGER AS pool_layer,
    (r->>'$.model.pool_heads')::INTEGER AS pool_heads,
    (r->>'$.model.pool_width')::INTEGER AS pool_width,
    CASE WHEN r->>'$.model.pool_layer' IS NOT NULL THEN coalesce(r->>'pool_mlp', 'component') END
        AS pool_mlp,
    (r->>'$.layers[*]')::SMALLINT[] AS layers,
    r->>'precision' AS precision,
    $images AS images,
    $rejects AS rejects,
    (r->>'$.zero_shot.accuracy')::DOUBLE AS zero_shot_accuracy,
    $created_at AS created_at,
    $snapshot AS snapshot,
    $snapshot_at AS snapshot_at,
    $is_default AS is_default
FROM (SELECT $record::JSON AS r)
