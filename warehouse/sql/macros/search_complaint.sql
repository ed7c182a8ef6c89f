CASE
    WHEN metric IS NULL OR metric NOT IN ('cosine', 'dot')
    THEN 'no metric ''' || coalesce(metric, 'NULL') || '''; there is cosine and dot'
        || near_name(metric, ['cosine', 'dot'])
    WHEN k IS NULL OR k < 0 THEN 'k is ' || coalesce(k::VARCHAR, 'NULL') || '; expected 0 or more'
END
