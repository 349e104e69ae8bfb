-- route: GET /users/search
-- summary: Users whose preferences contain a piece of JSON, in the order in which they came
-- param preferences: query jsonb required
-- param limit: query int8 1..100 = 20
-- rows: many
-- body: columns
-- read: replica; max_lag: 60s
-- lane: slow
-- tags: users
-- table users: ttl
-- cache: max-age=5, s-maxage=300, stale-while-revalidate=30
-- index: user_preferences

-- As with resources, what was found is five minutes old at most.
-- Bounded as the search for resources is, and without what has no value in it. What was searched is not shown.
SELECT f.public_id, f.name, f.handle
FROM (
    SELECT u.public_id, u.name, u.handle, u.id
    FROM users u
    WHERE u.preferences @> :preferences
      AND NOT u.is_private
      AND jsonb_path_exists(:preferences, '$.** ? (@.type() != "object" && @.type() != "array")')
    LIMIT 1000) f
ORDER BY f.id
LIMIT :limit
