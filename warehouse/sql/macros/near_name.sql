coalesce(
    '; did you mean ' || list_sort(
        list_transform(
            list_filter(known::VARCHAR[], lambda n: jaro_winkler_similarity(lower(n), lower(got)) > 0.8),
            lambda n: {'apart': 1 - jaro_winkler_similarity(lower(n), lower(got)), 'name': n}
        )
    )[1].name || '?',
    ''
)
