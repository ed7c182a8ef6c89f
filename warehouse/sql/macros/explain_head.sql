WITH given(layer, head, scan, text) AS (
    SELECT layer_of(layer, head), head_of(layer, head), scan, head_complaint(layer, head, scan)
),

strength AS (
    SELECT e.layer, e.head, avg(e.abs_direct) AS direct, avg(e.abs_total) AS total
    FROM head_effects AS e
    JOIN given AS g ON g.scan = e.scan_id
    GROUP BY e.layer, e.head
),

ranked AS (
    SELECT s.layer, s.head, rank() OVER (ORDER BY s.direct DESC) AS direct_rank,
        CASE WHEN s.total IS NOT NULL THEN rank() OVER (ORDER BY s.total DESC NULLS LAST) END
            AS total_rank
    FROM strength AS s
),

named AS (
    SELECT list(DISTINCT r.role ORDER BY r.role) AS roles
    FROM head_roles AS r
    JOIN given AS g ON g.scan = r.scan_id AND g.layer = r.layer AND g.head = r.head
    WHERE r.role IS NOT NULL
),

spanned AS (
    SELECT list(t.text ORDER BY t.rank) AS texts
    FROM textspan AS t
    JOIN given AS g ON g.scan = t.scan_id AND g.layer = t.layer AND g.head = t.head
        AND t.basis = basis_of(NULL, g.scan)
    WHERE t.rank < 5
),

read AS (
    SELECT list('L' || e.src_layer || 'H' || e.src_head ORDER BY e.share DESC NULLS LAST) AS names
    FROM head_edges AS e
    JOIN given AS g ON g.scan = e.scan_id AND g.layer = e.layer AND g.head = e.head
    WHERE e.src_kind = 'head'
),

reads AS (
    SELECT list('L' || e.layer || 'H' || e.head ORDER BY e.share DESC NULLS LAST) AS names
    FROM head_edges AS e
    JOIN given AS g ON g.scan = e.scan_id AND g.layer = e.src_layer AND g.head = e.src_head
    WHERE e.src_kind = 'head'
),

answer AS (
    SELECT 'L' || g.layer || 'H' || g.head AS name, n.roles, s.texts, r.direct_rank, r.total_rank,
        f.names[:3] AS feeders, t.names[:3] AS fed, g.scan AS scan_id
    FROM given AS g
    CROSS JOIN named AS n
    CROSS JOIN spanned AS s
    CROSS JOIN read AS f
    CROSS JOIN reads AS t
    LEFT JOIN ranked AS r ON r.layer = g.layer AND r.head = g.head
    WHERE g.text IS NULL
),

complaint AS (SELECT g.text FROM given AS g)
