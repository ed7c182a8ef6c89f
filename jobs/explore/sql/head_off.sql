SELECT kind, array_to_string(members, ' · ') AS members, n, before, after
FROM group_accuracy(:classifier, [:head], by := [:by], scan := :scan)
