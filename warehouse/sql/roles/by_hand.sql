-- Roles set by hand, $roles as JSON, stand alone where no basis of the scan has roles; where one has,
-- its file holds them already.
INSERT INTO head_roles BY NAME
SELECT $scan AS scan_id, (one ->> 'layer')::SMALLINT AS layer, (one ->> 'head')::SMALLINT AS head,
    one ->> 'role' AS role, 'manual' AS method, one ->> 'note' AS note, $stale AS stale
FROM (SELECT unnest($roles::JSON[]) AS one)
WHERE NOT EXISTS (FROM head_roles AS r WHERE r.scan_id = $scan)
