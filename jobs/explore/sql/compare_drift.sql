SELECT name, drift, mean_shift, variance_ratio, since FROM drift(k := 30, scan := :a)
