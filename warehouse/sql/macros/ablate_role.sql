CREATE MACRO ablate_role(classifier, role, scan := :default_scan, basis := NULL) AS TABLE
SELECT a.* FROM ablate(classifier, coalesce(role_heads(role, scan, basis), []), scan := scan) AS a
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM (
    SELECT
        CASE
            WHEN role_heads(role, scan, basis) IS NULL
            THEN 'no head with role ''' || coalesce(role, 'NULL') || ''' in scan ''' || scan
                || '''; there is '
                || coalesce(
                    (
                        SELECT string_agg(DISTINCT r.role, ', ' ORDER BY r.role)
                        FROM head_roles AS r WHERE r.scan_id = scan
                    ),
                    'none yet'
                )
        END AS text
) AS complaint
WHERE CASE WHEN complaint.text IS NULL THEN false ELSE error(complaint.text) IS NOT NULL END
