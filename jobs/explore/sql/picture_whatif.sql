SELECT key, truth, before, after, logit_before, logit_after
FROM ablate(:classifier, :heads, scan := :scan)
WHERE image_id = :image_id
