-- A role is any text, and the names of views differ in more than case: so they are numbers.
coalesce(
    'by_role.r' || list_position(:roles::VARCHAR[], scan || '/' || asked_role),
    'by_role.none'
)
