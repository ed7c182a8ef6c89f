-- $records is a JSON list of the files in runs/, newest first.
INSERT INTO runs BY NAME
SELECT
    r->>'run' AS run,
    r->>'command' AS command,
    r->>'scan_id' AS scan_id,
    (r->>'started_at')::TIMESTAMP AS started_at,
    (r->>'ended_at')::TIMESTAMP AS ended_at,
    (r->>'seconds')::DOUBLE AS seconds,
    r->>'outcome' AS outcome,
    (r->>'exit_code')::INTEGER AS exit_code,
    (r->>'images')::BIGINT AS images,
    (r->>'scanned')::BIGINT AS scanned,
    (r->>'rejects')::BIGINT AS rejects,
    (r->>'rate')::DOUBLE AS rate,
    r->>'message' AS message,
    r->>'stages' AS stages,
    r->>'counts' AS counts,
    r->>'configuration' AS configuration,
    r->>'versions' AS versions,
    r->>'machine' AS machine
FROM (SELECT unnest(from_json($records, '["JSON"]')) AS r)
