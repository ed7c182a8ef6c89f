SELECT DISTINCT r.scan_id, r.layer, r.head FROM head_roles AS r WHERE r.role = $role
