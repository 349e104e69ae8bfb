-- route: GET /users/{public_id}
-- summary: One user
-- param public_id: path text
-- rows: one
-- body: columns
-- read: replica; max_lag: 5s
-- tags: user:{id} user:{public_id}
-- table users: user:{id} user:{public_id}
-- cache: max-age=30, s-maxage=1800, stale-while-revalidate=60
-- index: user_public_id_key

SELECT u.public_id, u.name, u.handle, u.languages, u.is_bot, u.created_at, u.id AS _id
FROM users u
WHERE u.public_id = :public_id
  AND NOT u.is_private
