-- NULL where no head carries the role. Parameters are not called as the table's columns are: a
-- scalar macro cannot tell them apart.
CREATE MACRO role_heads(asked_role, scan, asked_basis) AS
(
    SELECT list(DISTINCT 'L' || r.layer || 'H' || r.head)
    FROM head_roles AS r
    WHERE r.scan_id = scan AND r.role = asked_role
        AND (asked_basis IS NULL OR r.basis = asked_basis)
)
