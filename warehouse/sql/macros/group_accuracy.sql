-- Columns are looked up by name in the metadata's JSON, so that `by` is a value and no SQL text.
CREATE MACRO group_accuracy(classifier, heads, by := ['label'], scan := :default_scan) AS TABLE
WITH keyed AS (
    SELECT i.image_id,
        list_transform(
            "by",
            lambda c: CASE WHEN c = 'label' THEN i.label ELSE json_extract_string(i.metadata, c) END
        ) AS members
    FROM images AS i
    WHERE i.scan_id = scan
),

grouped AS MATERIALIZED (
    SELECT k.members, count(*) AS n, avg(a.correct_before::INTEGER) AS before,
        avg(a.correct_after::INTEGER) AS after
    FROM ablate(classifier, heads, scan := scan) AS a
    JOIN keyed AS k ON k.image_id = a.image_id
    WHERE a.truth IS NOT NULL
    GROUP BY k.members
),

unknown AS (
    SELECT any_value(b.name) AS name
    FROM (SELECT unnest("by") AS name, generate_subscripts("by", 1) AS position) AS b
    WHERE NOT EXISTS (SELECT 1 FROM grouped AS g WHERE g.members[b.position] IS NOT NULL)
)

SELECT 'group' AS kind, g.members, g.n, g.before, g.after FROM grouped AS g
UNION ALL
SELECT 'mean', NULL, sum(g.n)::BIGINT, sum(g.n * g.before) / sum(g.n), sum(g.n * g.after) / sum(g.n)
FROM grouped AS g
UNION ALL
SELECT 'worst', NULL, NULL, min(g.before), min(g.after) FROM grouped AS g
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL
FROM (
    SELECT coalesce(
        classifier_complaint(classifier, scan),
        heads_complaint(heads, scan),
        CASE
            WHEN NOT EXISTS (SELECT 1 FROM grouped AS g)
            THEN 'no picture of scan ''' || scan || ''' has a label that classifier '''
                || classifier || ''' knows; SELECT label FROM classifiers lists them'
            WHEN (SELECT u.name FROM unknown AS u) IS NOT NULL
            THEN 'no picture of scan ''' || scan || ''' has a column '''
                || (SELECT u.name FROM unknown AS u) || '''; there is label, '
                || (
                    SELECT array_to_string(json_keys(i.metadata), ', ') FROM images AS i
                    WHERE i.scan_id = scan LIMIT 1
                )
        END
    ) AS text
) AS complaint
WHERE CASE WHEN complaint.text IS NULL THEN false ELSE error(complaint.text) IS NOT NULL END
ORDER BY kind, members
