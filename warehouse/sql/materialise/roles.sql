SELECT DISTINCT r.role FROM head_roles AS r WHERE r.role IS NOT NULL ORDER BY r.role
