coalesce(
    head_complaint(layer, head, scan),
    search_complaint('cosine', k),
    CASE
        WHEN NOT EXISTS (SELECT 1 FROM head_edges AS e WHERE e.scan_id = scan)
        THEN 'no paths between heads in scan ''' || scan || '''; run headatlas edges'
    END
)
