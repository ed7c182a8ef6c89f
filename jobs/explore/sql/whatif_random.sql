-- as many heads drawn from the same layers as those chosen: the control
WITH chosen AS (
    SELECT layer, count(*) AS n FROM heads
    WHERE scan_id = :scan AND list_contains(:heads, name) GROUP BY layer
),
drawn AS (
    SELECT h.name, row_number() OVER (PARTITION BY h.layer ORDER BY hash(h.name || :seed)) AS place,
        c.n
    FROM heads AS h JOIN chosen AS c ON c.layer = h.layer
    WHERE h.scan_id = :scan AND NOT list_contains(:heads, h.name)
)
SELECT list(name ORDER BY name) AS heads FROM drawn WHERE place <= n
