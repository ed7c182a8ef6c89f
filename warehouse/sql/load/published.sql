INSERT INTO published BY NAME
SELECT $version AS version, $published_at AS published_at, $warehouse AS warehouse,
    $default_scan AS default_scan
