-- route: GET /users/{public_id}/resources
-- summary: What everyone may see of what one user made, newest first, in pages
-- param public_id: path text
-- param limit: query int8 1..100 = 20
-- rows: cursor
-- body: columns
-- read: replica; max_lag: 5s
-- tags: user:{public_id} user:{public_id}:resources resource:{id}
-- table resources: user:{created_by_id.public_id}:resources
-- table users: user:{public_id}
-- cache: max-age=5, s-maxage=300, stale-while-revalidate=30
-- index: user_public_id_key resource_by_creator

SELECT r.public_id, r.resource_type, r.score, r.created_at, r.id AS _id
FROM (
    SELECT r.public_id, r.resource_type, r.score, r.created_at, r.id
    FROM resources r
    WHERE r.created_by_id = (SELECT u.id FROM users u WHERE u.public_id = :public_id AND NOT u.is_private)
      AND NOT r.is_deleted
      AND NOT r.is_private
      AND r.has_complete_version
      AND (r.created_at, r.id) < (:after_created_at, :after_id)   -- when cursor
      AND (r.created_at, r.id) > (:before_created_at, :before_id) -- when before
    ORDER BY r.created_at DESC, r.id DESC                         -- unless before
    ORDER BY r.created_at, r.id                                   -- when before
    LIMIT :max_limit) r
ORDER BY r.created_at DESC, r.id DESC -- unless before
ORDER BY r.created_at, r.id           -- when before
LIMIT :limit
