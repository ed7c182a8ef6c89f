SELECT array_to_string(:heads, ', ') AS heads, max(after) FILTER (kind = 'mean') AS mean,
    min(after) FILTER (kind = 'worst') AS worst
FROM group_accuracy(:classifier, :heads, by := [:by], scan := :scan)
