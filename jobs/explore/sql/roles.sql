SELECT role, count(DISTINCT (layer, head)) AS heads FROM head_roles
WHERE scan_id = :scan AND basis = :basis AND role IS NOT NULL
GROUP BY role
ORDER BY heads DESC, role
