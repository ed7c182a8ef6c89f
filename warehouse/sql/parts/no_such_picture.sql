CASE
    WHEN (SELECT p.image_id FROM asked_picture AS p) IS NULL
    THEN 'no picture ''' || coalesce(given.key, 'NULL') || ''' in scan ''' || given.scan
        || '''; SELECT key FROM images lists them' || (SELECT n.said FROM near_key AS n)
END
