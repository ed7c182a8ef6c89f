CREATE MACRO head_texts(layer, head := NULL, scan := :default_scan, basis := NULL) AS TABLE
WITH asked_basis AS (SELECT basis_of(basis, scan) AS basis)

SELECT t.rank, t.text, t.property, t.variance, t.explained, t.cumulative, t.pca_cumulative,
    t.description_id, t.basis, t.scan_id
FROM textspan AS t
WHERE t.scan_id = scan AND t.basis = (SELECT a.basis FROM asked_basis AS a)
    AND t.layer = layer_of(layer, head) AND t.head = head_of(layer, head)
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM (
    SELECT coalesce(
        head_complaint(layer, head, scan),
        CASE
            WHEN NOT EXISTS (
                SELECT 1 FROM textspan AS t
                WHERE t.scan_id = scan AND t.basis = (SELECT a.basis FROM asked_basis AS a)
            )
            THEN 'no TextSpan basis ' || coalesce('''' || basis || ''' ', '') || 'in scan ''' || scan
                || '''; SELECT DISTINCT basis FROM textspan lists them'
        END
    ) AS text
) AS complaint
WHERE CASE WHEN complaint.text IS NULL THEN false ELSE error(complaint.text) IS NOT NULL END
ORDER BY rank
