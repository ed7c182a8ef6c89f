WITH asked_basis AS (SELECT basis_of(basis, scan) AS basis),

answer AS (
    SELECT t.rank, t.text, t.property, t.variance, t.explained, t.cumulative, t.pca_cumulative,
        t.description_id, t.basis, t.scan_id
    FROM textspan AS t
    WHERE t.scan_id = scan AND t.basis = (SELECT a.basis FROM asked_basis AS a)
        AND t.layer = layer_of(layer, head) AND t.head = head_of(layer, head)
),

complaint AS (
    SELECT coalesce(head_complaint(layer, head, scan), basis_complaint(basis, scan)) AS text
)
