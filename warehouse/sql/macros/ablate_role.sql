CREATE MACRO ablate_role(classifier, role, scan := :default_scan, basis := NULL) AS TABLE
SELECT a.* FROM ablate(classifier, coalesce(role_heads(role, scan, basis), []), scan := scan) AS a
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM (SELECT role_complaint(role, scan, basis) AS text) AS complaint
WHERE CASE WHEN complaint.text IS NULL THEN false ELSE error(complaint.text) IS NOT NULL END
