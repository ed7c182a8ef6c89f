-- one row per stored head: what a cell, its tip and the scatter's axes show
WITH texts AS (
    SELECT layer, head, max(cumulative) AS explained, list(text ORDER BY rank)[1:3] AS texts
    FROM textspan WHERE scan_id = :scan AND basis = :basis
    GROUP BY layer, head
),
named AS (
    SELECT layer, head, role, q_value, stability, method
    FROM head_roles WHERE scan_id = :scan AND basis = :basis
    QUALIFY row_number() OVER (
        PARTITION BY layer, head
        ORDER BY method = 'manual' DESC, role IS NOT NULL DESC, method = 'language model' DESC
    ) = 1
),
attributes AS (
    SELECT layer, head, max(r2) AS r2, arg_max(attribute, r2) AS attribute,
        list({'attribute': attribute, 'r2': r2} ORDER BY attribute) AS r2_by_attribute
    FROM head_attributes WHERE scan_id = :scan
    GROUP BY layer, head
),
-- over the targets of one run of effects: means of the size; the middle one's repair
effects AS (
    SELECT layer, head, avg(abs_direct) AS abs_direct, avg(coalesce(abs_total, abs_atp)) AS abs_total,
        avg(abs(total - direct)) AS abs_indirect, median(repair) AS repair
    FROM head_effects WHERE scan_id = :scan AND classifier = :effects
    GROUP BY layer, head
)
SELECT h.name, h.layer, h.head, h.variance_share, h.variance, h.mean_norm, h.effective_rank,
    t.explained, r.role, r.q_value, r.stability, a.attribute, a.r2, e.abs_direct, e.abs_total,
    e.abs_indirect, e.repair, a.r2_by_attribute, t.texts
FROM heads AS h
LEFT JOIN texts AS t USING (layer, head)
LEFT JOIN named AS r USING (layer, head)
LEFT JOIN attributes AS a USING (layer, head)
LEFT JOIN effects AS e USING (layer, head)
WHERE h.scan_id = :scan
ORDER BY h.layer, h.head
