WITH answer AS (
    SELECT a.* FROM ablate(classifier, role_heads(role, scan, basis), scan := scan) AS a
),

complaint AS (
    SELECT coalesce(classifier_complaint(classifier, scan), role_complaint(role, scan, basis)) AS text
)
