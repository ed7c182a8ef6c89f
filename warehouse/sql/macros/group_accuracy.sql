-- Columns are looked up by name in the metadata's JSON, so that `by` is a value and no SQL text.
WITH asked(classifier, scan, text, names) AS (
    SELECT classifier, scan,
        coalesce(classifier_complaint(classifier, scan), heads_complaint(heads, scan)),
        CASE
            WHEN typeof("by") LIKE '%]' THEN TRY_CAST("by" AS VARCHAR[])
            ELSE ["by"::VARCHAR]
        END
),

-- What is said of each picture as it is written, so that it is read as a value once a group.
keyed AS (
    SELECT i.image_id,
        list_transform(
            a.names,
            lambda c: CASE
                WHEN c = 'label' THEN to_json(i.label)
                ELSE json_extract(i.metadata, '/' || replace(replace(c, '~', '~0'), '/', '~1'))
            END
        ) AS said
    FROM images AS i
    CROSS JOIN asked AS a
    WHERE i.scan_id = scan
),

counted AS (
    SELECT k.said, count(*) AS n, sum(a.correct_before::INTEGER) AS before,
        sum(a.correct_after::INTEGER) AS after
    FROM ablate(classifier, heads, scan := scan) AS a
    JOIN keyed AS k ON k.image_id = a.image_id
    WHERE a.truth IS NOT NULL
    GROUP BY k.said
),

grouped AS MATERIALIZED (
    SELECT
        list_transform(
            c.said, lambda s: metadata_value('{"said": ' || s || '}', 'said')
        ) AS members,
        sum(c.n)::BIGINT AS n, sum(c.before) / sum(c.n) AS before, sum(c.after) / sum(c.n) AS after
    FROM counted AS c
    GROUP BY ALL
),

worst AS (
    SELECT min(g.before) AS before, min(g.after) AS after,
        first(g.members ORDER BY g.before, g.members) AS members,
        first(g.members ORDER BY g.after, g.members) AS members_after
    FROM grouped AS g
),

unknown AS (
    SELECT any_value(coalesce(b.name, 'NULL')) AS name
    FROM (
        SELECT unnest(a.names) AS name, generate_subscripts(a.names, 1) AS position FROM asked AS a
    ) AS b
    WHERE NOT EXISTS (SELECT 1 FROM grouped AS g WHERE g.members[b.position] IS NOT NULL)
),

known AS (
    SELECT json_keys(i.metadata) AS names FROM images AS i WHERE i.scan_id = scan LIMIT 1
),

answer AS (
    SELECT 'group' AS kind, g.members, g.n, g.before, g.after, NULL::VARCHAR[] AS members_after
    FROM grouped AS g
    UNION ALL
    SELECT 'mean', NULL, sum(g.n)::BIGINT, sum(g.n * g.before) / sum(g.n),
        sum(g.n * g.after) / sum(g.n), NULL
    FROM grouped AS g
    UNION ALL
    SELECT 'worst', w.members, NULL, w.before, w.after, w.members_after FROM worst AS w
),

complaint AS (
    SELECT coalesce(
        a.text,
        CASE
            WHEN a.names IS NULL
            THEN 'no columns to group by; expected names, as ''place'' or [''label'', ''place'']'
            WHEN NOT EXISTS (SELECT 1 FROM grouped AS g)
            THEN 'no picture of scan ''' || a.scan || ''' has a label that classifier '''
                || a.classifier || ''' knows; SELECT label FROM classifiers lists them'
            WHEN (SELECT u.name FROM unknown AS u) IS NOT NULL
            THEN 'no picture of scan ''' || a.scan || ''' has a column '''
                || (SELECT u.name FROM unknown AS u) || '''; there is label, '
                || (
                    SELECT array_to_string(f.names, ', ') || near_name(u.name, f.names)
                    FROM known AS f
                    CROSS JOIN unknown AS u
                )
        END
    ) AS text
    FROM asked AS a
)
