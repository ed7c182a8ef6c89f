INSERT INTO head_covariances BY NAME
SELECT $scan AS scan_id, layer::SMALLINT AS layer, head::SMALLINT AS head,
    direction::SMALLINT AS direction, covariance
FROM covariances
