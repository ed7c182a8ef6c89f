WITH given(layer, head, scan, basis, text) AS (
    SELECT layer_of(layer, head), head_of(layer, head), scan, basis_of(basis, scan),
        coalesce(head_complaint(layer, head, scan), basis_complaint(basis, scan))
),

answer AS (
    SELECT t.rank, t.text, t.property, t.variance, t.explained, t.cumulative, t.pca_cumulative,
        t.description_id, t.basis, t.scan_id
    FROM textspan AS t
    JOIN given AS g
        ON g.scan = t.scan_id AND g.basis = t.basis AND g.layer = t.layer AND g.head = t.head
),

complaint AS (SELECT g.text FROM given AS g)
