-- every target of the newest run of effects; where total was not run, its first order
SELECT e.target, e.abs_direct, coalesce(e.abs_total, e.abs_atp) AS abs_total, e.se_total, e.direct, e.total,
    e.total - e.direct AS indirect, e.repair, e.n, e.n_total, e.classifier
FROM head_effects AS e
WHERE e.scan_id = :scan AND e.classifier = :effects AND e.layer = layer_of(:head, NULL)
    AND e.head = head_of(:head, NULL)
    AND e.abs_direct IS NOT NULL AND abs_total IS NOT NULL
ORDER BY abs_total DESC
