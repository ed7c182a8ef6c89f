-- One head of a role. What is the same in all its rows is a literal, so that filters on it are
-- decided when a query is planned.
SELECT :layer::SMALLINT AS layer, :head::SMALLINT AS head, :bases::VARCHAR[] AS bases, image_id,
    vector, file
FROM by_layer.:view
WHERE head = :head
