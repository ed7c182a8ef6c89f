WITH given(heads, text) AS (
    SELECT role_heads(role, scan, basis),
        coalesce(classifier_complaint(classifier, scan), role_complaint(role, scan, basis))
),

answer AS (
    SELECT a.*
    FROM ablate(classifier, (SELECT g.heads FROM given AS g), scan := scan) AS a
),

complaint AS (SELECT g.text FROM given AS g)
