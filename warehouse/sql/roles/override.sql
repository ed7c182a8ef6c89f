-- Of a head whose role is set by hand, what other methods say is no role; the note keeps it.
UPDATE head_roles AS r
SET role = NULL,
    note = concat_ws('; ', 'overridden by hand: ' || r.method || ' said ' || r.role, r.note)
WHERE r.scan_id = $scan AND r.method <> 'manual' AND r.role IS NOT NULL AND EXISTS (
    FROM head_roles AS m
    WHERE m.scan_id = r.scan_id AND m.basis IS NOT DISTINCT FROM r.basis AND m.method = 'manual'
        AND m.layer = r.layer AND m.head = r.head
)
