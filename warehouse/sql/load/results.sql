INSERT INTO results BY NAME
SELECT $scan AS scan_id, $kind AS kind, $name AS name, $snapshot AS snapshot, $stale AS stale,
    $created_at AS created_at, $is_default AS is_default, $why AS why,
    $provenance AS provenance
