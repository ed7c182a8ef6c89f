-- One scan's part of the view; publish joins the parts. The list names exactly the files of one
-- snapshot. With layer in the path, a filter on it drops files before they are opened.
SELECT :scan AS scan_id, image_id, layer, head, vector
FROM read_parquet(
    flatten(
        list_transform(
            :shards,
            lambda s: list_transform(:layers, lambda l: contribution_file(:scan, s, l))
        )
    ),
    hive_partitioning = true,
    hive_types = {'layer': SMALLINT}
)
