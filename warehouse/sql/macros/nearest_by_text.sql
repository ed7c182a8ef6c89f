-- As nearest_by_head, with a text's direction in the head frame in place of a picture's vector.
-- The direction is not centred: <v - mean, t> is what the head adds to the cosine with the text.
WITH :part.asked_direction_of_text,

:part.pictures_along_direction,

:part.near_text,

complaint AS (
    SELECT coalesce(
        head_complaint(layer, head, scan),
        a.complaint,
        :part.no_such_text,
        search_complaint(metric, k)
    ) AS text
    FROM asked_basis AS a
)
