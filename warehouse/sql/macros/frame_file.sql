coalesce(getvariable('headatlas_root'), :root)
|| '/scans/' || scan || '/' || file
